"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from api.farm_client import FarmClient

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_DATA_DIR = "var"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

KEY = "ttsfarm.key"

_url: Decorator = click.option(
    "--url",
    envvar="TTSFARM_URL",
    default=DEFAULT_URL,
    show_default=True,
    callback=lambda _ctx, _param, url: _checked(url),
    help="The farm's address; also TTSFARM_URL.",
)
_key: Decorator = click.option(
    "--key",
    envvar="TTSFARM_KEY",
    expose_value=False,
    callback=lambda ctx, _param, key: _keep(ctx, key),
    help="Your key or token; better in TTSFARM_KEY, where other users do not see it.",
)


def farm_url(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which farm, and with which key; the command gets `url` of them."""
    return _url(_key(command))


def client_of(url: str) -> FarmClient:
    """A client of the farm at `url`, with the key the running command was given."""
    return FarmClient(url, key=given_key())


def given_key() -> str | None:
    """The key the running command was given."""
    key: str | None = click.get_current_context().meta.get(KEY)
    return key


def _keep(ctx: click.Context, key: str | None) -> None:
    if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
        raise click.BadParameter("a key has printable ASCII characters only")
    ctx.meta[KEY] = key.strip() if key else None


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} must begin with http:// or https://")
    try:
        FarmClient(url)  # calls nobody yet
    except ValueError as error:
        raise click.BadParameter(f"{url!r} is no address of a farm: {error}") from error
    return url
