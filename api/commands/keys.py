"""`ttsfarm keys`: make, list and revoke the keys callers show, straight in the farm's Redis.

Who can reach Redis is the operator; so the first key needs no key.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from api.commands.direct import farm_redis, in_data_dir
from shared.limits import Limits
from shared.tenants import DEFAULT_TENANT, TENANT, ApiKey, KeyStore, NewKey, Scope
from shared.views import timestamp

LIFETIME = re.compile(r"(\d{1,6})([smhd])\Z", re.ASCII)
UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
MOST_NAME = 100


@click.group()
def keys() -> None:
    """Make, list and revoke keys."""


@keys.command()
@in_data_dir
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="Whose jobs it sees.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=(Scope.SUBMIT.value, Scope.READ.value),
    show_default=True,
    help="What it may do; may be given several times.",
)
@click.option("--name", default="", help="A note for the list, such as who has it.")
@click.option("--expires", metavar="TIME", help="How long it works, such as 90d, 12h or 30m.")
@click.option("--requests-per-minute", type=click.IntRange(0), help="Its own limit; 0 is none.")
@click.option("--jobs", type=click.IntRange(0), help="Its own limit of jobs under way; 0 is none.")
@click.option("--daily-chars", type=click.IntRange(0), help="Its own limit a day; 0 is none.")
def create(
    data_dir: Path, tenant: str, scopes: tuple[str, ...], name: str, expires: str | None, **own: int
) -> None:
    """Make a key and print it; it can not be shown again."""
    if not TENANT.match(tenant):
        raise click.UsageError(
            f"--tenant {tenant[:80]!r} must have 1 to 128 letters, digits and ._%@~-, the first "
            "a letter or digit."
        )
    if len(name) > MOST_NAME or not name.isprintable():
        raise click.UsageError(f"--name must have at most {MOST_NAME} printable characters.")
    asked = frozenset(Scope(scope) for scope in scopes)
    lifetime_ms = _lifetime_ms(expires) if expires else None
    with key_store(data_dir) as (store, now_ms):
        expires_ms = now_ms() + lifetime_ms if lifetime_ms else None
        made, key = store.create(
            NewKey(
                tenant=tenant, scopes=asked, name=name, expires_ms=expires_ms, limits=Limits(**own)
            )
        )
    click.echo(key)
    until = f" until {timestamp(made.expires_ms)}" if made.expires_ms else ""
    click.echo(
        f"Key {made.id} of {made.tenant} may {', '.join(sorted(made.scopes))}{until}. Keep it: it "
        "is not shown again.",
        err=True,
    )


@keys.command("list")
@in_data_dir
def show(data_dir: Path) -> None:
    """List the keys, the newest first; those that ended are told for 30 days."""
    with key_store(data_dir) as (store, _):
        found = store.all()
    for key in found:
        click.echo(_row(key))
    if not found:
        click.echo("No keys. Make one: ttsfarm keys create", err=True)


@keys.command()
@in_data_dir
@click.argument("key_id", metavar="ID")
def revoke(data_dir: Path, key_id: str) -> None:
    """Make a key useless; within 5 seconds no API takes it any more."""
    with key_store(data_dir) as (store, _):
        known = store.revoke(key_id)
    if not known:
        raise click.ClickException(f"There is no key {key_id[:80]!r}; see 'ttsfarm keys list'.")
    click.echo(f"{key_id} is revoked.")


@contextmanager
def key_store(data_dir: Path) -> Iterator[tuple[KeyStore, Callable[[], int]]]:
    """The farm's keys and the clock of its Redis; raises `SetupProblem` when it is not there."""
    with farm_redis(data_dir) as scripts:
        yield KeyStore(scripts), scripts.now_ms


def _lifetime_ms(given: str) -> int:
    match = LIFETIME.match(given)
    if not match or int(match.group(1)) == 0:
        raise click.UsageError(f"--expires {given[:40]!r} must be the likes of 90d, 12h or 30m.")
    return int(match.group(1)) * UNIT_MS[match.group(2)]


def _row(key: ApiKey) -> str:
    state = "revoked" if key.revoked_ms else "expired" if key.expired else "works"
    until = timestamp(key.expires_ms) if key.expires_ms else "revoked"
    limits = ", ".join(
        f"{name} {value}" for name, value in key.limits.dump().items() if value is not None
    )
    cells = (
        key.id,
        f"{state:<7}",
        f"{key.tenant:<14}",
        f"{','.join(sorted(key.scopes)):<17}",
        f"until {until}",
        limits,
        key.name,
    )
    return "  ".join(cell for cell in cells if cell)
