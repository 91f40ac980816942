"""`ttsfarm say --stream`: the audio is written while the farm still speaks."""

import hashlib
import sys
from io import BufferedRandom
from pathlib import Path

import click

from api.farm_client import FarmClient, Job

# No format's header is longer; past it a stream and the finished file are the same bytes.
HEADER_BYTES = 4096


def listen(client: FarmClient, job: Job, path: Path | None) -> Job:
    """The finished job, its audio written to `path`, or to standard output for None."""
    if path is None:
        for chunk in client.stream(job.id):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return job
    try:
        with path.open("w+b") as file:
            for chunk in client.stream(job.id):
                file.write(chunk)
                file.flush()
            job = client.follow_job(job, None)
            _complete(client, job, file)
    except OSError as error:
        raise click.ClickException(f"{path} can not be written: {error.strerror}.") from error
    return job


def _complete(client: FarmClient, job: Job, file: BufferedRandom) -> None:
    """Give the file the header that knows its length; where that is not all, take it anew."""
    if job.audio is None:
        raise click.ClickException(f"Job {job.id} {job.status}: {job.error or 'no reason given'}")
    file.seek(0)
    file.write(client.beginning(job.id, min(HEADER_BYTES, job.audio.size_bytes)))
    file.seek(0)
    if hashlib.file_digest(file, "sha256").hexdigest() == job.audio.sha256:
        return
    file.seek(0)
    file.truncate()
    for chunk in client.audio(job.id):
        file.write(chunk)
