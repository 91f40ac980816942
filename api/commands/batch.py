"""`ttsfarm batch`: a file of texts in, one archive of audio out, with a bar that follows it.

The idempotency key comes from the file and the options: the same command after an interruption
goes on with the same batch.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import click

from api.commands.options import client_of, farm_url
from api.commands.output import try_writing, whole_file
from api.commands.say import FORMATS
from api.farm_client import Batch, FarmClient, FarmProblem

SHOWN_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """The body that is sent; `added` lines stand before the file's own."""

    body: BinaryIO
    key: str
    added: int


@click.command()
@farm_url
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default="results.zip",
    show_default=True,
    help="Write the archive here.",
)
@click.option("--voice", help="A name from 'ttsfarm voices'.")
@click.option("--emotion", help="One of the voice's emotions, such as happy.")
@click.option("--speed", type=float, help="0.5 to 2; 2 is twice as fast.")
@click.option("--format", type=click.Choice(FORMATS), help="Of every audio file.")
@click.option("--skip-bad", is_flag=True, help="Leave out lines at fault instead of stopping.")
@click.option("--retry", is_flag=True, help="Run what failed or was canceled before once more.")
def batch(url: str, file: Path, output: Path, skip_bad: bool, retry: bool, **options: Any) -> None:
    """Speak every line of FILE (.jsonl; .txt: a text a line) into one archive."""
    try_writing(output)
    head: dict[str, Any] = {}
    if defaults := {name: value for name, value in options.items() if value is not None}:
        head["defaults"] = defaults
    if skip_bad:
        head["accept"] = "valid"
    client = client_of(url)
    with TemporaryFile() as body:
        lines = _prepare(file, head, body)
        try:
            sent = client.submit_lines(lines.body, lines.key)
        except FarmProblem as problem:
            raise _with_lines(problem, lines.added) from problem
    _tell(sent.faults, lines.added)
    if retry and sent.finished:
        sent = client.retry_batch(sent.id)
    done = _follow(client, sent)
    with whole_file(output) as target:
        for chunk in client.results(done.id):
            target.write(chunk)
    _report(done, output)


def _prepare(file: Path, head: dict[str, Any], body: BinaryIO) -> _Lines:
    """Write the file's lines after the head; a head of the file's own takes in the options."""
    digest, added = hashlib.sha256(), 0
    with file.open("rb") as source:
        for number, line in enumerate(_json_lines(source, plain=file.suffix == ".txt")):
            first = [line]
            if number == 0 and head:
                merged = _merged(line, head)
                added = int(merged is None)
                first = [_head_line(head), line] if merged is None else [merged]
            for one in first:
                digest.update(one)
                body.write(one)
    body.seek(0)
    return _Lines(body=body, key=f"batch-{digest.hexdigest()[:40]}", added=added)


def _json_lines(source: Iterable[bytes], *, plain: bool) -> Iterator[bytes]:
    for line in source:
        if not plain:
            yield line
            continue
        text = line.decode("utf-8-sig", "surrogateescape").strip()
        yield (json.dumps(text) if text else "").encode() + b"\n"


def _head_line(head: Mapping[str, Any]) -> bytes:
    return json.dumps({"batch": head}, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _merged(line: bytes, head: Mapping[str, Any]) -> bytes | None:
    """The file's own head with the options in it; None where the line is an input."""
    try:
        own = json.loads(line)
    except ValueError:
        return None
    if not isinstance(own, dict) or own.keys() != {"batch"} or not isinstance(own["batch"], dict):
        return None
    defaults = {**own["batch"].get("defaults", {}), **head.get("defaults", {})}
    return _head_line({**own["batch"], **head, "defaults": defaults})


def _follow(client: FarmClient, sent: Batch) -> Batch:
    watched = sys.stderr.isatty()
    try:
        with click.progressbar(
            length=sent.counts["total"], label="Speaking", file=sys.stderr, hidden=not watched
        ) as bar:

            def show(seen: Batch) -> None:
                bar.update(seen.n_ended - bar.pos)

            return client.follow_batch(sent, show if watched else None)
    except KeyboardInterrupt as stop:
        click.echo(
            f"\nBatch {sent.id} goes on. The same command takes it up again.",
            err=True,
        )
        raise click.exceptions.Exit(130) from stop


def _report(done: Batch, output: Path) -> None:
    counts = done.counts
    click.echo(
        f"{output}: {counts['succeeded']} of {counts['total']} spoken, {done.audio_s:.1f} s of "
        f"speech, batch {done.id}",
        err=True,
    )
    if counts["succeeded"] < counts["total"]:
        left = {name: n for name, n in counts.items() if n and name not in ("succeeded", "total")}
        told = ", ".join(f"{n} {name}" for name, n in left.items())
        raise click.ClickException(
            f"{told}; manifest.csv in the archive says why. The same command with --retry runs "
            "them again."
        )


def _fault_lines(faults: Iterable[Mapping[str, Any]], added: int) -> list[str]:
    told = [f"line {fault['line'] - added}: {fault['message']}" for fault in faults]
    rest = len(told) - SHOWN_FAULTS
    return [*told[:SHOWN_FAULTS], *([f"and {rest} more"] if rest > 0 else [])]


def _tell(faults: Iterable[Mapping[str, Any]], added: int) -> None:
    for line in _fault_lines(faults, added):
        click.echo(f"Left out, {line}", err=True)


def _with_lines(problem: FarmProblem, added: int) -> FarmProblem:
    """The problem with the lines of the file it is about."""
    if not problem.faults or any("line" not in fault for fault in problem.faults):
        return problem
    lines = ["Nothing was accepted.", *_fault_lines(problem.faults, added)]
    return FarmProblem(problem.status, problem.code, "\n  ".join(lines), problem.faults)
