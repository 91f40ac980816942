"""`ttsfarm say`: text in, an audio file out, with a bar that follows the job.

The idempotency key comes from the text and the options: the same command after an interruption
goes on with the same job.
"""

import hashlib
import math
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import click

from api.commands.listen import listen
from api.commands.options import client_of, farm_url
from api.commands.output import try_writing, whole_file
from api.farm_client import (
    FarmClient,
    FarmProblem,
    FarmUnreachable,
    Job,
    idempotency_key,
)
from shared.schemas import AudioFormat
from shared.states import JobStatus

FORMATS: tuple[str, ...] = get_args(AudioFormat)
# These ended without audio; asking again means: try what is missing once more.
RESUMABLE = frozenset({JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED})
BAR_STEPS = 1000
SPEAKING_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class _Output:
    """Where the audio goes; `path` None is standard output."""

    path: Path | None
    format: str


@click.command()
@farm_url
@click.argument("text", required=False)
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the text from this file; - is standard input.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="speech.wav",
    show_default=True,
    help="Write the audio here; - is standard output. The ending names the format.",
)
@click.option("--voice", help="A name from 'ttsfarm voices'.")
@click.option("--emotion", help="One of the voice's emotions, such as happy.")
@click.option("--emotion-intensity", type=float, help="0 to 2.")
@click.option("--speed", type=float, help="0.5 to 2; 2 is twice as fast.")
@click.option("--pitch", type=float, help="-12 to 12 semitones.")
@click.option("--volume", type=float, help="0 to 2.")
@click.option("--format", type=click.Choice(FORMATS), help="When the ending does not say it.")
@click.option("--sample-rate", type=int, help="8000 to 48000 Hz.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Write while the farm still speaks; standard output does so by itself.",
)
@click.option("--fresh", is_flag=True, help="Speak anew, even what was spoken before.")
def say(
    url: str,
    text: str | None,
    file: Path | None,
    output: Path,
    stream: bool | None,
    **options: Any,
) -> None:
    """Speak TEXT, or a file's text, into an audio file."""
    target = _target(output, options.pop("format"))
    fresh = options.pop("fresh")
    body = {
        "text": _text(text, file),
        "format": target.format,
        **{name: value for name, value in options.items() if value is not None},
    }
    key = _key(body, fresh=fresh)
    if fresh:
        body["cache"] = False
    client = client_of(url)
    job = client.submit_body(body, key)
    if job.status in RESUMABLE:
        job = client.retry(job.id)
    wanted = target.path is None if stream is None else stream
    if wanted and not job.finished and (heard := _listen(client, job, target)):
        _tell(heard, target)
        return
    job = _follow(client, job)
    if job.audio is None:
        raise click.ClickException(f"Job {job.id} {job.status}: {job.error or 'no reason given'}")
    _save(client, job, target)


def _text(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise click.UsageError('Give the text itself or a file: say "你好", or say -f book.txt')
    if file is None:
        return text or ""
    name = "standard input" if str(file) == "-" else str(file)
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise click.UsageError(f"{name} can not be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"{name} is not UTF-8 (byte {error.start + 1}). Convert it first, for instance: "
            f"iconv -f GB18030 -t UTF-8 {name} -o utf8.txt"
        ) from error


def _key(body: Mapping[str, Any], *, fresh: bool) -> str:
    try:
        key = idempotency_key(body)
    except UnicodeEncodeError as error:
        raise click.UsageError(
            "The text or an option is not UTF-8. Put the text into a file, convert that with "
            "iconv, and give it as: say -f FILE"
        ) from error
    return f"say-{secrets.token_hex(16)}" if fresh else key


def _target(output: Path, format_: str | None) -> _Output:
    if str(output) == "-":
        return _Output(path=None, format=format_ or "wav")
    ending = output.suffix.lower().removeprefix(".")
    if format_ is None and ending not in FORMATS:
        raise click.UsageError(
            f"{output} does not end in a format. Known: {', '.join(FORMATS)}; or say --format."
        )
    if not output.parent.is_dir():
        raise click.UsageError(f"The folder {output.parent} does not exist. Make it first.")
    try_writing(output)
    return _Output(path=output, format=format_ or ending)


def _listen(client: FarmClient, job: Job, target: _Output) -> Job | None:
    """The job with its audio written; None where the farm can not stream."""
    try:
        with _going_on(job):
            return listen(client, job, target.path)
    except FarmProblem as problem:
        if problem.code != "streaming_missing":
            raise
        click.echo("This farm can not stream; waiting for the whole.", err=True)
        return None


@contextmanager
def _going_on(job: Job) -> Iterator[None]:
    """Tells who presses Ctrl-C what becomes of the job."""
    try:
        yield
    except KeyboardInterrupt as stop:
        click.echo(
            f"\nJob {job.id} goes on. The same command takes it up again; "
            f"'ttsfarm cancel {job.id}' ends it.",
            err=True,
        )
        raise click.exceptions.Exit(130) from stop


def _follow(client: FarmClient, job: Job) -> Job:
    """Wait until the job is finished, showing a person how far it is."""
    watched = sys.stderr.isatty()
    with (
        _going_on(job),
        click.progressbar(
            length=BAR_STEPS,
            file=sys.stderr,
            hidden=not watched,
            show_eta=False,  # the farm knows better
            item_show_func=_outlook,
        ) as bar,
    ):

        def show(seen: Job) -> None:
            bar.label, bar.current_item = _stage(seen), seen
            bar.update((BAR_STEPS if seen.audio else _steps(seen)) - bar.pos)
            bar.render_progress()  # also when only the line has moved

        return client.follow_job(job, show if watched else None)


def _stage(job: Job) -> str:
    if job.status == JobStatus.QUEUED:
        return "Waiting "
    return "Joining " if job.segments_done == job.segments_total else "Speaking"


def _outlook(job: Job | None) -> str | None:
    """What stands behind the bar: the place in the line, and when the farm expects to be done."""
    if job is None or job.finished:
        return None
    told = [f"number {job.position} in line"] if job.position else []
    if job.starts_in_s is not None and job.status == JobStatus.QUEUED:
        told.append(f"starts in {_span(job.starts_in_s)}")
    if job.done_in_s is not None:
        told.append(f"done in {_span(job.done_in_s)}")
    return ", ".join(told) or None


def _span(seconds: float) -> str:
    """A time a person reads at a glance.

    >>> _span(8.2), _span(130), _span(7500)
    ('9 s', '2 min', '2 h 5 min')
    """
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _steps(job: Job) -> int:
    """How far a job is; the last of it is joining and encoding, which a book takes a while for."""
    share = job.segments_done / job.segments_total if job.segments_total else 0
    return int(BAR_STEPS * SPEAKING_SHARE * share)


def _save(client: FarmClient, job: Job, target: _Output) -> None:
    """Write the audio, whole and checked; a file appears only when it is complete."""
    if target.path is None:
        _copy(client, job, sys.stdout.buffer)
        return
    with whole_file(target.path) as file:
        _copy(client, job, file)
    _tell(job, target)


def _tell(job: Job, target: _Output) -> None:
    if target.path is None:
        return
    seconds = f"{job.audio.duration_s:.1f} s" if job.audio else ""
    took = f", job {job.id} took {job.total_ms / 1000:.2f} s" if job.total_ms is not None else ""
    click.echo(f"{target.path}: {seconds} of speech{took}", err=True)


def _copy(client: FarmClient, job: Job, file: BinaryIO) -> None:
    digest = hashlib.sha256()
    for chunk in client.audio(job.id):
        digest.update(chunk)
        file.write(chunk)
    if job.audio is not None and digest.hexdigest() != job.audio.sha256:
        raise FarmUnreachable("The download is not what the farm made. Run the command again.")
