"""`ttsfarm doctor`: what is wrong with this installation, and how to mend it."""

from pathlib import Path

import click

from api.commands.options import DEFAULT_DATA_DIR, farm_url, given_key
from api.doctor import examine
from shared.checks import report
from shared.settings import settings


@click.command()
@farm_url
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="The data directory of 'ttsfarm up'.",
)
def doctor(url: str, data_dir: Path) -> None:
    """Say what is wrong with this installation and how to mend it."""
    if not report(examine(url, data_dir, settings(), given_key()), click.echo):
        raise click.exceptions.Exit(1)
