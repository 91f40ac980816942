"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from api.farm_client import FarmClient

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_DATA_DIR = "var"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

farm_url: Decorator = click.option(
    "--url",
    envvar="TTSFARM_URL",
    default=DEFAULT_URL,
    show_default=True,
    callback=lambda _ctx, _param, url: _checked(url),
    help="The farm's address; also TTSFARM_URL.",
)


def client_of(url: str) -> FarmClient:
    """A client of the farm at `url`."""
    return FarmClient(url)


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} must begin with http:// or https://")
    return url
