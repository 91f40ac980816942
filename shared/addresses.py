"""Which addresses webhooks may reach: the rules for URLs and for network addresses.

The API checks a URL when a job is submitted, without resolving it; the courier checks every
address it resolves to before it connects.
"""

import re
import socket
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self
from urllib.parse import urlsplit

from shared.errors import ForbiddenAddress

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_CHARS = 2048
MAX_NAME_CHARS = 253
DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_IN_BRACKETS = re.compile(r"\[[0-9a-f:.]+\](:\d*)?", re.ASCII | re.IGNORECASE)

# IANA's special-purpose registries, and what clouds put beside them. Written out: what the
# standard library calls global changes between its releases.
_REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared, with a cloud's metadata"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "a cloud's metadata"),
    ("169.254.0.0/16", "link-local, with clouds' metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved, with a cloud's metadata"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("2001::/23", "protocol assignments, Teredo"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4, which carries an IPv4 address"),
    ("3fff::/20", "documentation"),
)
_REFUSED_NETWORKS = tuple((ip_network(network), why) for network, why in _REFUSED)
_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a webhook URL points; `path` holds the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class AddressGuard:
    """The addresses webhooks may reach: public ones, and those an operator opened.

    `hosts` are names whose every address is open; one that begins with a dot opens what is below.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, allowed: str) -> Self:
        """From a comma-separated setting: `10.0.0.0/8, ::1, hooks.intranet, .lan`.

        Raises `ValueError` for what is neither a network nor a host's name: it would open nothing.
        """
        networks, hosts = [], set()
        for entry in filter(None, (part.strip() for part in allowed.split(","))):
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                hosts.add(_host_of(entry))
        return cls(networks=tuple(networks), hosts=frozenset(hosts))

    def opens(self, host: str) -> bool:
        """Whether an operator opened this name."""
        return host in self.hosts or any(
            host.endswith(entry) for entry in self.hosts if entry.startswith(".")
        )

    def refusal(self, address: Address) -> str | None:
        """Why this address is not to be reached, or None when it is open."""
        inner = _inner(address)
        for network in self.networks:
            if any(
                seen.version == network.version and seen in network for seen in {address, inner}
            ):
                return None
        for refused, why in _REFUSED_NETWORKS:
            if inner.version == refused.version and inner in refused:
                return why
        if isinstance(inner, IPv6Address):
            return _refusal_v6(inner)
        return None


def check_url(url: str, guard: AddressGuard) -> Target:
    """Where `url` points, when its form is one the farm calls; no name is resolved.

    Raises `ForbiddenAddress` for another scheme, user names, a malformed host or port, and
    addresses the guard refuses, in whatever notation the system's resolver would accept.
    """
    if len(url) > MAX_URL_CHARS or any(not "!" <= char <= "~" for char in url) or "\\" in url:
        raise ForbiddenAddress(
            f"A webhook URL has up to {MAX_URL_CHARS} printable ASCII characters without spaces "
            "and backslashes; this one has others or more: percent-encode its path, and write "
            "names in other scripts as DNS has them (xn--)."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ForbiddenAddress(f"The webhook URL is not a URL: {error}.") from error
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise ForbiddenAddress(
            f"A webhook URL begins with http:// or https://, not with {parts.scheme!r}."
        )
    _check_authority(parts.netloc, port)
    host = _ascii_host(parts.hostname or "")
    _check_host(host, guard)
    query = f"?{parts.query}" if parts.query else ""
    path = (parts.path or "/") + query
    return Target(scheme=scheme, host=host, port=port or DEFAULT_PORTS[scheme], path=path)


def _check_authority(netloc: str, port: int | None) -> None:
    if "@" in netloc:
        raise ForbiddenAddress("A webhook URL holds no user name or password: remove it.")
    if port == 0:
        raise ForbiddenAddress("Port 0 can not be reached: give one from 1 to 65535.")
    if "[" in netloc and not _IN_BRACKETS.fullmatch(netloc):  # `urlsplit` drops what is beside them
        raise ForbiddenAddress(
            "Brackets in a webhook URL hold an IPv6 address without a zone, and nothing but a port "
            "follows them: check it."
        )


def literal(host: str) -> Address | None:
    """The address `host` is written as, in any notation the system takes; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001, 017700000001, 2130706433: the resolver takes them all.
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _check_host(host: str, guard: AddressGuard) -> None:
    address = literal(host)
    if address is None and not _is_name(host):
        raise ForbiddenAddress(f"{host!r} is not a host name: check the webhook URL.")
    if guard.opens(host):
        return
    if address is None and host.rpartition(".")[2] == "localhost":
        address = IPv4Address("127.0.0.1")
    why = address and guard.refusal(address)
    if why:
        raise ForbiddenAddress(
            f"The farm does not call {host} ({why}): give a public address, or have the operator "
            "open it with TTSFARM_WEBHOOK_ALLOW."
        )


def _is_name(host: str) -> bool:
    return len(host) <= MAX_NAME_CHARS and all(map(_LABEL.fullmatch, host.split(".")))


def _ascii_host(host: str) -> str:
    """Lower case, without the root's dot; names in other scripts as DNS has them."""
    host = host.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError as error:
            raise ForbiddenAddress(f"{host!r} is not a host name: check it.") from error
    return host.removesuffix(".")


def _host_of(entry: str) -> str:
    """The name an operator opens, with the dot before it where what is below it is opened."""
    try:
        host = _ascii_host(entry.removeprefix("*"))
    except ForbiddenAddress:
        host = ""
    if not _is_name(host.removeprefix(".")):
        raise ValueError(
            "should be networks and host names without scheme or port, comma-separated, such as "
            f"10.0.0.0/8,hooks.internal,.lan; {entry[:80]!r} is neither"
        )
    return host


def _inner(address: Address) -> Address:
    """The address a connection would really reach, out of IPv6 wrappings that a host honours."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _refusal_v6(address: IPv6Address) -> str | None:
    if address not in _GLOBAL_V6:
        return "not a global address"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "ISATAP, which carries an IPv4 address"
    return None
