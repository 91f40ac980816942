"""`ttsfarm-worker doctor`: whether this machine can speak, and how to mend what is wrong."""

import click

from shared.checks import report
from shared.settings import settings
from worker.doctor import examine


@click.command()
def doctor() -> None:
    """Say what is wrong with this worker and how to mend it."""
    if not report(examine(settings()), click.echo):
        raise click.exceptions.Exit(1)
