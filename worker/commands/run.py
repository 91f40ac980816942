"""`ttsfarm-worker run`: a worker that speaks, or the courier that delivers webhooks."""

import sys

import click

from shared.errors import FarmError


@click.command()
@click.option(
    "--voice",
    "voices",
    multiple=True,
    metavar="NAME",
    help="Voice or engine to offer; may be given several times. Else TTSFARM_VOICES.",
)
@click.option("--courier", is_flag=True, help="Deliver webhooks instead of speaking.")
def run(voices: tuple[str, ...], courier: bool) -> None:
    """Work until SIGTERM, which finishes or hands back what is held."""
    if courier and voices:
        raise click.UsageError("The courier speaks with no voice: give --courier or --voice.")
    # Celery is loaded only here: it is no business of the other commands.
    from worker.app import start

    try:
        status = start(list(voices) or None, courier)
    except FarmError as error:  # what it needs before it can begin: a voice, or Redis
        raise click.ClickException(error.message) from error
    sys.exit(status)
