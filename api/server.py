"""The API's production server: gunicorn in one process with a door of ours, stopped gracefully."""

import ctypes
import logging
import resource
import threading
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # has no types
from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # has no types

from api.answers import farm_of
from api.app import create_app
from api.door import door_of
from api.exposure import require_guarded
from api.farm import Farm
from api.headers import read_origins
from shared.errors import Unavailable
from shared.logs import configure_logs
from shared.settings import Settings, settings

logger = logging.getLogger(__name__)

GRACE_S = 15
KEEPALIVE_S = 30
M_ARENA_MAX = -8  # malloc.h
ARENAS = 2
OTHER_FILES = 500  # those of the store, of Redis, and of bodies that wait


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Leaves gunicorn's own lines to our handler; its access log would write signed links."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.propagate = True


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves the app until SIGTERM; then answers what is under way, for `GRACE_S` at most.

    There is one process: long polls share its one connection to Redis's messages, and metrics
    need no files.
    """

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        host = self._settings.api_host
        options: dict[str, Any] = {
            "bind": f"{f'[{host}]' if ':' in host else host}:{self._settings.api_port}",
            "workers": 1,
            "worker_class": door_of(self._settings),
            "threads": self._settings.api_threads,
            "worker_connections": self._settings.api_connections,
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACE_S,
            "timeout": 60,
            "logger_class": PlainLogger,
            "control_socket_disable": True,
            # Whom to believe about TLS is `trusted_proxies` to say, not gunicorn's own default.
            "forwarded_allow_ips": "",
            "when_ready": _announce,
            "post_worker_init": self._remember,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = create_app(self._settings, stopping=self._is_stopping)
        farm = farm_of(app)
        farm.watcher.start()
        threading.Thread(target=prepare, args=(farm,), name="prepare", daemon=True).start()
        return app

    def _remember(self, worker: Any) -> None:
        self._worker = worker

    def _is_stopping(self) -> bool:
        return self._worker is not None and not self._worker.alive


def prepare(farm: Farm) -> None:
    """Meet the store, Redis and the broker, so that the first caller need not wait for it.

    What is not there yet is met later; until then /readyz says what is missing.
    """
    farm.bells.ring_courier()  # any bell opens the line; this one may be rung at any time
    for meet in (farm.voices.refresh, farm.open_links, farm.store.ensure):
        try:
            meet()
        except Unavailable as error:
            logger.warning(error.message, extra={"action": "start"})


def share_arenas() -> None:
    """Let the threads of this process and its children share glibc's heaps; before any begins.

    glibc gives threads up to eight heaps a core, and each keeps what its largest moment took. Ours
    take turns at the interpreter's lock, so they gain nothing by it. Other C libraries have none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def _announce(arbiter: Any) -> None:
    for listener in arbiter.LISTENERS:
        logger.info("listening on %s", listener, extra={"action": "start"})


def allow_files(n_files: int) -> None:
    """Let this process have so many files open, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n_files if hard == resource.RLIM_INFINITY else min(n_files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve() -> None:
    """Serve the API in this process, by the settings, until it is told to stop."""
    chosen = settings()
    require_guarded(chosen)
    read_origins(chosen.cors_origins)  # a fault in it ends here, not in gunicorn's child
    configure_logs(chosen.log_level, process="api")
    share_arenas()
    allow_files(2 * chosen.api_connections + OTHER_FILES)
    Server(chosen).run()
