"""`ttsfarm jobs`, `status` and `cancel`: what became of what was submitted."""

import click

from api.commands.options import client_of, farm_url
from api.farm_client import FarmClient, Job
from shared.states import JobStatus

MOST_LISTED = 200  # jobs of one page


@click.command()
@farm_url
@click.option(
    "--status", type=click.Choice([s.value for s in JobStatus]), help="Only jobs in this state."
)
@click.option("-n", "--limit", type=click.IntRange(1, MOST_LISTED), default=20, show_default=True)
def jobs(url: str, status: str | None, limit: int) -> None:
    """List the newest jobs."""
    found = client_of(url).jobs(status=status, limit=limit)
    for job in found:
        click.echo(_row(job))
    if not found:
        click.echo("No jobs.", err=True)


@click.command()
@farm_url
@click.argument("job_id", metavar="[JOB]", required=False)
def status(url: str, job_id: str | None) -> None:
    """Show one job; without JOB, whether the farm is ready."""
    client = client_of(url)
    if job_id is not None:
        click.echo(_page(client.job(job_id)))
        return
    client.ready()
    running, waiting = (_count(client, one) for one in (JobStatus.RUNNING, JobStatus.QUEUED))
    click.echo(f"The farm at {url} is ready; {running} jobs run, {waiting} wait.")


@click.command()
@farm_url
@click.argument("job_id", metavar="JOB")
def cancel(url: str, job_id: str) -> None:
    """Cancel a job."""
    job = client_of(url).cancel(job_id)
    click.echo(f"{job.id} is {job.status}.")


def _count(client: FarmClient, status: JobStatus) -> str:
    """How many jobs are in a state, as far as one page of the list tells."""
    found = len(client.jobs(status=status, limit=MOST_LISTED))
    return f"{found} or more" if found == MOST_LISTED else str(found)


def _row(job: Job) -> str:
    return (
        f"{job.id}  {job.status:<9}  {_segments(job):>9}  {job.voice:<14}"
        f"  {job.characters:>7} chars  {job.created_at}"
    )


def _segments(job: Job) -> str:
    total = "?" if job.segments_total is None else job.segments_total
    return f"{job.segments_done}/{total}"


def _page(job: Job) -> str:
    lines = {
        "job": job.id,
        "status": str(job.status),
        "voice": job.voice,
        "characters": str(job.characters),
        "segments": _segments(job),
        "audio": f"{job.audio.duration_s:.1f} s" if job.audio else f"{job.audio_s:.1f} s so far",
        "submitted": job.created_at,
        "took": f"{job.total_ms / 1000:.2f} s" if job.total_ms is not None else "",
        "error": job.error or "",
    }
    return "\n".join(f"{name:<11}{value}" for name, value in lines.items() if value)
