"""`ttsfarm serve`: the API alone, for a farm whose Redis and workers run elsewhere."""

import click


@click.command()
def serve() -> None:
    """Serve the API; where and how come from TTSFARM_* settings."""
    # The server is loaded only here: the other commands start in half the time without it.
    from api.server import serve as run

    run()
