"""`ttsfarm up`: a whole farm on this machine."""

from pathlib import Path

import click

from api.commands.options import DEFAULT_DATA_DIR
from api.exposure import require_guarded
from api.supervisor import UpOptions, run_farm
from shared.settings import settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 is any free one.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Where jobs and audio are kept.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Worker processes; each speaks one segment at a time.",
)
@click.option(
    "--voice",
    "voices",
    multiple=True,
    metavar="NAME",
    help="Voice or engine the workers offer; may be given several times.",
)
def up(host: str, port: int, data_dir: Path, workers: int, voices: tuple[str, ...]) -> None:
    """Start Redis, the API, workers and the courier; Ctrl-C stops them all."""
    chosen = settings()  # a value that does not fit ends here, not in every child
    require_guarded(chosen.model_copy(update={"api_host": host}))
    run_farm(
        UpOptions(
            host=host,
            port=port,
            data_dir=data_dir,
            workers=workers,
            voices=voices,
            auth=chosen.auth,
        )
    )
