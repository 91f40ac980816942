"""`ttsfarm-worker synth`: one voice, text or symbols, files; without the farm."""

from pathlib import Path
from typing import Any

import click

from shared.errors import FarmError

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--model", "folder", type=FOLDER, required=True, help="A model folder.")
@click.option("--voice", help="A voice of it; the first one otherwise.")
@click.option("--text", help="What to say.")
@click.option("--symbols", type=FILE, help="A file of name<TAB>symbols lines.")
@click.option("-o", "--output", type=FILE, help="The WAV file to write.")
@click.option("--stages", type=FILE, help="An .npz file for every stage's tensor.")
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Lines rendered at a time.")
@click.option("--grade", type=click.Choice(["exact", "fast", "int8"]), default="exact")
@click.option("--threads", type=click.IntRange(min=1), default=1)
@click.option("--cache", type=FOLDER, help="Where compiled parts are kept.")
@click.option("--emotion", default="neutral")
@click.option("--intensity", type=click.FloatRange(0, 2), default=1.0)
@click.option("--speed", type=click.FloatRange(0.5, 2), default=1.0)
@click.option("--pitch", type=click.FloatRange(-12, 12), default=0.0, help="Semitones.")
def synth(**given: Any) -> None:
    """Speak text or symbols with one voice, without the farm."""
    if (given["text"] is None) == (given["symbols"] is None):
        raise click.UsageError("Give either --text or --symbols.")
    if given["output"] is None and given["stages"] is None:
        raise click.UsageError("Give -o, --stages, or both.")
    # Imported when run: torch takes seconds, and `--help` should not.
    from worker import synth as synthesis

    try:
        for line in synthesis.run(synthesis.Synthesis(**given)):
            click.echo(line, err=True)
    except FarmError as error:
        raise click.ClickException(error.message) from error
