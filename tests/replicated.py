"""A real Redis that fails over: a master, its replicas and three sentinels, each a process."""

from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from shared.connection import connect
from shared.redis_address import parse_redis_url
from shared.sentinels import sentinel_options
from tests.certificates import Certificates
from tests.conftest import PATIENCE_S, RedisServer, wait_until

NAME = "farm"
PASSWORD = "a/pass:word,of@redis"
SENTINEL_PASSWORD = "of-the&sentinels"
DOUBLED = ("--min-replicas-to-write", "1")  # a master on its own takes nothing


class Node(RedisServer):
    """A Redis with a password and, given certificates, TLS alone; a replica of `of`."""

    def __init__(
        self, directory: Path, tls: Certificates | None = None, of: "Node | None" = None, *more: str
    ) -> None:
        super().__init__(directory, append_only=True)
        self.tls, self.of, self.more = tls, of, more

    @property
    def url(self) -> str:
        scheme, query = ("rediss", f"?{self.tls.query()}") if self.tls else ("redis", "")
        return f"{scheme}://:{quote(PASSWORD, '')}@127.0.0.1:{self.port}/0{query}"

    def flags(self) -> list[str]:
        return [
            *super().flags(),
            *("--requirepass", PASSWORD, "--masterauth", PASSWORD),
            *("--repl-diskless-sync-delay", "0", *self.more),
            *(self.tls.flags(self.port) if self.tls else ()),
            *(("--replicaof", f"127.0.0.1 {self.of.port}") if self.of else ()),
        ]

    def says(self, **wanted: str | int) -> bool:
        """Whether it answers, and says all this of its part in replication."""
        with connect(self.url, timeout_s=1, retries=0) as client:
            try:
                info = client.info("replication")
            except RedisError:
                return False
        return all(info.get(name) == value for name, value in wanted.items())


class Watch(RedisServer):
    """A sentinel. What it learns it writes into its own file, so it has no flags."""

    def __init__(self, directory: Path, master: Node) -> None:
        super().__init__(directory, append_only=False)
        self.master = master

    @property
    def url(self) -> str:
        scheme = "rediss" if self.master.tls else "redis"
        query = f"?{self.master.tls.query()}" if self.master.tls else ""
        return f"{scheme}://:{quote(SENTINEL_PASSWORD, '')}@127.0.0.1:{self.port}/0{query}"

    def flags(self) -> list[str]:
        file = self.directory / "sentinel.conf"
        tls = self.master.tls.flags(self.port) if self.master.tls else []
        lines = [
            f"port {self.port}",
            f"bind 127.0.0.1\ndir {self.directory}",
            *(f"{tls[i][2:]} {tls[i + 1]}" for i in range(0, len(tls), 2)),
            f'requirepass "{SENTINEL_PASSWORD}"\nsentinel sentinel-pass "{SENTINEL_PASSWORD}"',
            f"sentinel monitor {NAME} 127.0.0.1 {self.master.port} 2",
            f'sentinel auth-pass {NAME} "{PASSWORD}"',
            f"sentinel down-after-milliseconds {NAME} 2000",
            f"sentinel failover-timeout {NAME} 5000",
        ]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return [str(file), "--sentinel"]


class Replicated:
    """One master, `replicas` of it and three sentinels, on loopback."""

    def __init__(
        self, directory: Path, *, replicas: int = 2, tls: Certificates | None = None
    ) -> None:
        first = Node(directory / "node0", tls, None, *DOUBLED)
        others = [Node(directory / f"node{i + 1}", tls, first, *DOUBLED) for i in range(replicas)]
        self.nodes = [first, *others]
        self.sentinels = [Watch(directory / f"sentinel{i}", first) for i in range(3)]
        self.tls = tls

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        query = f"master={NAME}&sentinel_password={quote(SENTINEL_PASSWORD, '')}"
        query += f"&tls=yes&{self.tls.query()}" if self.tls else ""
        return f"sentinel://:{quote(PASSWORD, '')}@{hosts}/0?{query}"

    def start(self) -> None:
        """Return when every replica is in step and every sentinel knows every part."""
        n_replicas = len(self.nodes) - 1
        for node in self.nodes:
            node.start()
        wait_until(lambda: self.nodes[0].says(role="master", connected_slaves=n_replicas), 60)
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(lambda: self._all_know(n_replicas), 60)

    def kill(self) -> None:
        for one in (*self.sentinels, *self.nodes):
            one.kill()

    def master(self) -> Node:
        """The node the sentinels name."""
        port = self._ask(self.sentinels[0])["port"]
        return next(node for node in self.nodes if node.port == port)

    def move(self) -> None:
        """Make another node the master while the old one lives on; return when it has yielded."""
        old = self.master()
        with self._client(self.sentinels[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", NAME)
        wait_until(lambda: self.master() is not old and old.says(role="slave"), 60)

    def _all_know(self, n_replicas: int) -> bool:
        known = [self._ask(one) for one in self.sentinels]
        return all(
            (one["num-slaves"], one["num-other-sentinels"]) == (n_replicas, 2) for one in known
        )

    def _ask(self, sentinel: RedisServer) -> dict[str, int]:
        with self._client(sentinel) as client:
            state: dict[str, int] = client.sentinel_master(NAME)
        return state

    def _client(self, sentinel: RedisServer) -> Redis:
        options = sentinel_options(parse_redis_url(self.url), PATIENCE_S)
        options |= {"socket_timeout": PATIENCE_S, "socket_connect_timeout": PATIENCE_S}
        return Redis(port=sentinel.port, host="127.0.0.1", decode_responses=True, **options)
