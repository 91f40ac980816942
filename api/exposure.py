"""Whether a farm without keys stands open to people or pages nobody meant to let in."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import Forbidden
from shared.problems import WrongSetting
from shared.settings import Settings

if TYPE_CHECKING:
    from flask import Request  # `ttsfarm up` starts in half the time without it


def require_guarded(settings: Settings) -> None:
    """Raise `WrongSetting` when anybody on the network could use this farm and nobody said so.

    Or when tokens are asked for and can not be checked by the settings there are.
    """
    if settings.auth == "jwt":
        from api.tokens import TokenVerifier  # loads cryptography, which others can do without

        TokenVerifier(settings)
    guarded = settings.auth != "none" or settings.open_to_network
    if not guarded and not is_loopback(settings.api_host):
        raise WrongSetting(
            f"TTSFARM_AUTH is none, and others can reach {settings.api_host or 'every address'} of "
            "this machine. Set TTSFARM_AUTH=keys and make a key with 'ttsfarm keys create', or "
            "listen on 127.0.0.1, or, where only the right people reach it, set "
            "TTSFARM_OPEN_TO_NETWORK=true"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; of names only localhost is known to be so."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_other_pages(request: Request, settings: Settings, origins: frozenset[str]) -> None:
    """Raise `Forbidden` for what a page of another site makes a browser of this machine send.

    Such a page reaches loopback too: by forms, which need no permission, and under a name of its
    own that it lets point to this machine. Programs send none of the headers that tell.
    """
    host = _name_in(f"//{request.host}")
    expected = _name_in(settings.public_url or "")
    local = is_loopback(settings.api_host) and not settings.open_to_network
    if local and not settings.trusted_proxies and not (is_loopback(host) or host == expected != ""):
        raise Forbidden(
            f"This farm has no keys and answers only under names of this machine, not as {host!r}. "
            "Behind a proxy, set TTSFARM_AUTH=keys, TTSFARM_PUBLIC_URL or TTSFARM_TRUSTED_PROXIES."
        )
    if request.method in ("GET", "HEAD") or "*" in origins:
        return
    origin = request.headers.get("Origin", "")
    foreign = _is_foreign(request.headers.get("Sec-Fetch-Site"), origin, {host, expected})
    if foreign and origin.lower() not in origins:
        raise Forbidden(
            f"The page {origin[:100]!r} may not use this farm; name it in TTSFARM_CORS_ORIGINS."
        )


def _is_foreign(site: str | None, origin: str, own: set[str]) -> bool:
    """Whether a browser says that the page is of another site; `own` are the farm's names.

    Without TLS it says so of loopback alone, and an old one never: then the origin tells.
    """
    if site is not None:
        return site in ("cross-site", "same-site")
    return bool(origin) and (_name_in(origin) or "null") not in own


def _name_in(address: str) -> str:
    """The host of an address, empty where it has none that can be read."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # brackets around what is no address of IPv6
        return ""
