"""Commands for the operator alone, who is whoever can reach the farm's Redis: they ask no API."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from api.commands.options import DEFAULT_DATA_DIR
from api.doctor import running_farm
from api.problems import SetupProblem
from shared.connection import Scripts, connect
from shared.errors import Unavailable
from shared.settings import settings

in_data_dir: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="The data directory of a running 'ttsfarm up'; TTSFARM_REDIS_URL goes before it.",
)


@contextmanager
def farm_redis(data_dir: Path) -> Iterator[Scripts]:
    """The farm's Redis; raises `SetupProblem` when it is not there."""
    chosen = settings()
    running = running_farm(data_dir)
    url = chosen.redis_url.get_secret_value()
    if running is not None and "redis_url" not in chosen.model_fields_set:
        url = running.redis_url
    client = connect(url, timeout_s=3.0, retries=1)
    try:
        yield Scripts(client)
    except Unavailable as error:
        raise SetupProblem(
            f"{error.message}. Start the farm ('ttsfarm up'), name its directory with --data-dir, "
            "or set TTSFARM_REDIS_URL."
        ) from error
    finally:
        client.close()
