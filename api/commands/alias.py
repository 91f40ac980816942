"""`ttsfarm alias`: names that stand for other voices by weight, to release a voice gradually."""

import re
from pathlib import Path

import click

from api.commands.direct import farm_redis, in_data_dir
from shared.aliases import AliasStore
from shared.presence import PresenceStore

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}\Z")
MOST_WEIGHT = 1_000_000


@click.group()
def alias() -> None:
    """Let a name stand for other voices by weight."""


@alias.command("set")
@in_data_dir
@click.argument("name")
@click.argument("voices", nargs=-1, required=True, metavar="VOICE=WEIGHT...")
def set_alias(data_dir: Path, name: str, voices: tuple[str, ...]) -> None:
    """Share NAME's new jobs between voices; those submitted before stay where they are.

    For example: ttsfarm alias set zhitian zhitian=90 zhitian@2=10
    """
    if not NAME.match(name):
        raise click.UsageError(f"NAME {name[:80]!r} must have 1 to 128 letters, digits and ._@-.")
    weights = dict(_read(one) for one in voices)
    total = sum(weights.values())
    if not total:
        raise click.UsageError("The weights are all 0; take the alias away with 'alias remove'.")
    with farm_redis(data_dir) as scripts:
        known = {one.voice.name for one in PresenceStore(scripts).voices()}
        AliasStore(scripts).set(name, {voice: w for voice, w in weights.items() if w})
    for voice, weight in weights.items():
        absent = "" if voice in known else "; no worker offers it, so the others share its part"
        click.echo(f"{voice} gets {weight / total:.0%} of {name}{absent}")


@alias.command("list")
@in_data_dir
def list_aliases(data_dir: Path) -> None:
    """List the aliases with their voices and weights."""
    with farm_redis(data_dir) as scripts:
        found = AliasStore(scripts).all()
    for name, weights in found.items():
        click.echo(f"{name}  {' '.join(f'{voice}={weight}' for voice, weight in weights.items())}")
    if not found:
        click.echo("No aliases. Set one: ttsfarm alias set NAME VOICE=WEIGHT...", err=True)


@alias.command()
@in_data_dir
@click.argument("name")
def remove(data_dir: Path, name: str) -> None:
    """Take an alias away; a voice of the same name is again what it was."""
    with farm_redis(data_dir) as scripts:
        known = AliasStore(scripts).remove(name)
    if not known:
        raise click.ClickException(f"There is no alias {name[:80]!r}; see 'ttsfarm alias list'.")
    click.echo(f"{name} is no alias any more.")


def _read(given: str) -> tuple[str, int]:
    voice, _, weight = given.rpartition("=")
    if not NAME.match(voice) or not weight.isdecimal() or int(weight) > MOST_WEIGHT:
        raise click.UsageError(
            f"{given[:80]!r} must be a voice and its weight, 0 to {MOST_WEIGHT}: zhitian@2=10"
        )
    return voice, int(weight)
