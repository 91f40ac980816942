"""`ttsfarm-worker fetch`: a model from ModelScope's hub, by id and pinned revision."""

from pathlib import Path

import click

from shared.errors import FarmError

FOLDER = click.Path(file_okay=False, path_type=Path)


def _default_models() -> Path:
    return Path.home() / ".cache" / "ttsfarm" / "models"


@click.command()
@click.argument("model")
@click.option("--revision", help="A tag or commit; otherwise what follows @ in MODEL, or master.")
@click.option("--models", type=FOLDER, default=_default_models, help="Where models are kept.")
@click.option("--offline", is_flag=True, help="Use only what has been fetched before.")
@click.option("--endpoint", help="Another hub's address.")
def fetch(
    model: str, revision: str | None, models: Path, offline: bool, endpoint: str | None
) -> None:
    """Fetch MODEL (owner/name[@revision]) from ModelScope's hub and print its folder."""
    # Imported when run: `--help` should not load what only a fetch needs.
    from worker import hub

    try:
        folder = hub.fetch(
            hub.parse_ref(model, revision),
            models,
            offline=offline,
            endpoint=endpoint,
            report=lambda line: click.echo(line, err=True),
        )
    except FarmError as error:
        raise click.ClickException(error.message) from error
    click.echo(folder)
