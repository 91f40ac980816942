"""`ttsfarm voices`: what the farm can speak with."""

import click

from api.commands.options import client_of, farm_url


@click.command()
@farm_url
def voices(url: str) -> None:
    """List the voices and their emotions."""
    known = client_of(url).voices()
    if not known:
        click.echo("No worker has offered a voice yet.", err=True)
        return
    width = max(len(voice.name) for voice in known)
    for voice in known:
        ready = f"{voice.ready_workers} ready" if voice.ready_workers else "no worker"
        click.echo(
            f"{voice.name:<{width}}  {voice.language:<6}  {voice.engine:<8}  {ready:<10}"
            f"  {', '.join(voice.emotions)}"
        )
