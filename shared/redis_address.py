"""Where Redis is: `TTSFARM_REDIS_URL`, parsed once, for redis-py and for Celery alike.

One form for each way to reach it:

    redis://[[user]:password@]host:port/db          rediss://... the same over TLS
    unix://[[user]:password@]/path?db=0
    sentinel://[[user]:password@]host:port,host:port,host:port/db?master=name
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

Scheme = Literal["redis", "rediss", "unix", "sentinel"]
REDIS_PORT = 6379
SENTINEL_PORT = 26379
VERIFY = ("required", "optional", "none")
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = frozenset({*FILES, "ssl_cert_reqs", "ssl_check_hostname"})
OPTIONS: dict[str, frozenset[str]] = {
    "redis": frozenset({"db"}),
    "rediss": frozenset({"db", *TLS_OPTIONS}),
    "unix": frozenset({"db"}),
    "sentinel": frozenset(
        {"db", "master", "sentinel_username", "sentinel_password", "tls", *TLS_OPTIONS}
    ),
}
SWITCH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Login:
    """A name and password; without either nobody logs in."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        return {"username": self.username, "password": self.password}


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Where the farm's Redis is reached.

    `hosts` are Redis itself or, when `master` is set, the sentinels that know where it is; `tls`
    then holds for both. `tls` has the names redis-py and kombu share.
    """

    scheme: Scheme
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    db: int = 0
    login: Login = Login()
    sentinel_login: Login = Login()
    master: str | None = None
    tls: dict[str, Any] | None = None

    def node_options(self) -> dict[str, Any]:
        """redis-py's arguments for a connection to Redis, but where it is."""
        return {"db": self.db, **self.login.options(), **self._tls_options()}

    def sentinel_options(self) -> dict[str, Any]:
        """redis-py's arguments for a connection to a sentinel, but where it is."""
        return {**self.sentinel_login.options(), **self._tls_options()}

    def place_options(self) -> dict[str, Any]:
        """redis-py's arguments that say where Redis itself is; not for sentinels."""
        if self.scheme == "unix":
            return {"unix_socket_path": self.path}
        ((host, port),) = self.hosts
        return {"host": host, "port": port}

    def broker_url(self) -> str:
        """The address in kombu's form, without TLS, which it takes beside the address."""
        if self.scheme == "unix":
            # kombu reads the host's part as text, and the database from its query.
            query = urlencode({"virtual_host": self.db})
            return f"redis+socket://{self._credentials()}{quote(self.path)}?{query}"
        scheme = "sentinel" if self.master else "redis"
        return ";".join(
            f"{scheme}://{self._credentials()}{_netloc(host, port)}/{self.db}"
            for host, port in self.hosts
        )

    def _tls_options(self) -> dict[str, Any]:
        return {"ssl": True, **self.tls} if self.tls is not None else {}

    def _credentials(self) -> str:
        if self.login.password is None:
            return ""
        return f"{quote(self.login.username or '', '')}:{quote(self.login.password, '')}@"


def parse_redis_url(url: str) -> RedisAddress:
    """The address a URL names; raises `ValueError` that says what is wrong, but no secret."""
    scheme, _, _ = url.partition("://")
    if scheme not in OPTIONS:
        raise ValueError(f"should begin with one of {', '.join(f'{one}://' for one in OPTIONS)}")
    parts = urlsplit(url)
    options = _options(scheme, parts)
    credentials, _, places = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    return RedisAddress(
        scheme=cast(Scheme, scheme),
        hosts=_hosts(scheme, places),
        path=unquote(parts.path) if scheme == "unix" else "",
        db=_db(scheme, parts, options),
        login=Login(username=unquote(username) or None, password=unquote(password) or None),
        sentinel_login=Login(
            username=options.get("sentinel_username"), password=options.get("sentinel_password")
        ),
        master=_master(scheme, options),
        tls=_tls(scheme, options),
    )


def _options(scheme: str, parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - OPTIONS[scheme]):
        known = ", ".join(sorted(OPTIONS[scheme]))
        raise ValueError(f"does not know {', '.join(unknown)}; {scheme}:// takes {known}")
    return options


def _hosts(scheme: str, places: str) -> tuple[tuple[str, int], ...]:
    if scheme == "unix":
        return ()
    default = SENTINEL_PORT if scheme == "sentinel" else REDIS_PORT
    given = places.split(",")
    if len(given) > 1 and scheme != "sentinel":
        raise ValueError(f"takes one host; several are for sentinel://, not {scheme}://")
    hosts = []
    for place in given:
        try:
            one = urlsplit(f"//{place}")
            hosts.append((one.hostname or "localhost", one.port or default))
        except ValueError as error:  # what it quotes may be part of a password
            raise ValueError(
                "has a port that is no number; write '/', '@', ':', ',' and '?' of a password as "
                "%2F, %40, %3A, %2C and %3F"
            ) from error
    return tuple(hosts)


def _db(scheme: str, parts: SplitResult, options: dict[str, str]) -> int:
    text = "" if scheme == "unix" else parts.path.removeprefix("/")
    try:
        return int(options.get("db") or text or 0)
    except ValueError as error:
        raise ValueError("should end with the database's number, such as /0") from error


def _master(scheme: str, options: dict[str, str]) -> str | None:
    if scheme == "sentinel" and not options.get("master"):
        raise ValueError("needs ?master=NAME, the name the sentinels know Redis by")
    return options.get("master")


def _tls(scheme: str, options: dict[str, str]) -> dict[str, Any] | None:
    given = {name: options[name] for name in sorted(TLS_OPTIONS & options.keys())}
    if scheme != "rediss" and not _switch(options, "tls", default=False):
        if given:
            raise ValueError(f"has {', '.join(given)} without TLS; sentinel:// needs tls=yes too")
        return None
    for name in FILES:
        if name in given and not Path(given[name]).is_file():
            raise ValueError(f"{name}: there is no file {given[name]}")
    # kombu's own documents write CERT_REQUIRED where redis-py writes required.
    verify = given.get("ssl_cert_reqs", "required").removeprefix("CERT_").lower()
    if verify not in VERIFY:
        raise ValueError(f"ssl_cert_reqs should be one of {', '.join(VERIFY)}")
    check_hostname = _switch(options, "ssl_check_hostname", default=True) and verify != "none"
    return {**given, "ssl_cert_reqs": verify, "ssl_check_hostname": check_hostname}


def _switch(options: dict[str, str], name: str, *, default: bool) -> bool:
    if name not in options:
        return default
    try:
        return SWITCH[options[name].lower()]
    except KeyError as error:
        raise ValueError(f"{name} should be yes or no") from error


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
