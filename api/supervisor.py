"""`ttsfarm up`: a whole farm on one machine, every part a child process of this one.

Workers stop before what they depend on; Redis, which holds the jobs, goes last.
"""

import errno
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from api.children import Children, Program
from api.console import Console
from api.doctor import RUNNING
from api.embedded import EmbeddedRedis, await_answer, owned, prepare, write_private
from api.farm_client import FarmClient, FarmProblem, FarmUnreachable
from api.problems import SetupProblem
from shared.settings import Settings

NEEDED_BYTES = 200_000_000
REDIS_POLL_S = 0.05
PATIENCE_S = 15.0
POLL_S = 0.3
FAREWELL_S = 1.0  # for a slow reader of the last lines
DEFAULT_VOICE = Settings.model_fields["default_voice"].default
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  # compared with, not listened on


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """What `ttsfarm up` was asked for; port 0 picks a free one."""

    host: str
    port: int
    data_dir: Path
    workers: int
    voices: tuple[str, ...] = ()
    auth: str = "none"


class Interrupted(Exception):
    """The farm was told to stop before it was up."""


class Supervisor:
    """Runs one farm from start to stop."""

    def __init__(
        self, options: UpOptions, console: Console, environment: Mapping[str, str]
    ) -> None:
        self._options = options
        self._console = console
        self._environment = environment
        self._children = Children(console=console)
        self._stops = 0
        self._redis_url = ""
        self._url = ""

    def run(self) -> None:
        """Serve until told to stop by a signal; raises `SetupProblem` when it can not come up."""
        options = self._options
        with owned(options.data_dir) as lock, self._signals():
            require_room(options.data_dir)
            port = usable_port(options.host, options.port)
            self._url = f"http://{_reachable(options.host)}:{port}"
            try:
                self._start_redis(lock)
                self._start_farm(port)
                self._note_running()
                self._await_ready()
                self._children.patient = True
                while not self._stops:
                    self._children.tick(0.2)
            except Interrupted:
                pass
            finally:
                self._stop()

    def _start_redis(self, lock: int) -> None:
        embedded = prepare(self._options.data_dir, usable_port("127.0.0.1", 0))
        self._redis_url = embedded.url
        self._console.say(f"Starting {embedded.server.build.label} in {self._options.data_dir}")
        self._children.start(_redis_program(embedded, lock, self._environment))
        await_answer(embedded.url, lambda: self._tick_for(REDIS_POLL_S))

    def _start_farm(self, port: int) -> None:
        environment = self._farm_environment(port)
        api = _python("api.cli", "serve")
        self._children.start(
            Program(name="api", command=api, environment=environment, grace_s=20.0)
        )
        voices = [part for voice in self._options.voices for part in ("--voice", voice)]
        work = _python("worker.cli", "run", *voices)
        for number in range(1, self._options.workers + 1):
            name = f"worker-{number}"
            program = Program(name=name, command=work, environment=environment, grace_s=60.0)
            self._children.start(program)
        courier = _python("worker.cli", "run", "--courier")
        self._children.start(
            Program(name="courier", command=courier, environment=environment, grace_s=30.0)
        )

    def _farm_environment(self, port: int) -> dict[str, str]:
        """The settings every part gets; what the user has set beyond them stays."""
        objects = self._options.data_dir.resolve() / "objects"
        return {
            "TTSFARM_STORAGE_DIR": str(objects),
            **self._environment,
            "TTSFARM_REDIS_URL": self._redis_url,
            "TTSFARM_API_HOST": self._options.host,
            "TTSFARM_API_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }

    def _note_running(self) -> None:
        """Tell `ttsfarm doctor` where this farm's parts are; the file holds Redis's password."""
        note = {"url": self._url, "redis_url": self._redis_url, "pid": os.getpid()}
        write_private(self._options.data_dir / RUNNING, json.dumps(note))

    def _await_ready(self) -> None:
        client = FarmClient(self._url, timeout_s=2.0, tries=1)
        patient_until = time.monotonic() + PATIENCE_S
        while isinstance(found := ready_voices(client), str):
            self._tick_for(POLL_S)
            if time.monotonic() > patient_until:
                patient_until += PATIENCE_S
                self._console.alert(f"Not ready yet: {found}")
        self._greet(found)

    def _greet(self, voices: list[str]) -> None:
        guarded = self._options.auth != "none"
        if not guarded and self._options.host not in LOOPBACK:
            self._console.alert(f"Anyone who reaches {self._options.host} can use this farm.")
        self._console.say(
            f"\nttsfarm is ready on {self._url}\n"
            f"  voices   {', '.join(voices)}\n"
            f"  page     {self._url}/\n"
            f"  API      {self._url}/docs\n"
            f"  hear it  {hello(self._url, self._spoken_by(voices), guarded=guarded)}\n"
            f"{self._key_advice()}"
            "  stop     Ctrl-C\n"
        )

    def _key_advice(self) -> str:
        if self._options.auth != "keys":
            return ""
        return f"  a key    ttsfarm keys create --data-dir {self._options.data_dir}\n"

    def _spoken_by(self, voices: list[str]) -> str | None:
        """The voice a call has to name, None where the default one is offered."""
        default = self._environment.get("TTSFARM_DEFAULT_VOICE", DEFAULT_VOICE)
        return None if default in voices else next(iter(voices), None)

    def _tick_for(self, duration_s: float) -> None:
        """Tick for that long; a tick alone ends with the first line a child writes."""
        until = time.monotonic() + duration_s
        while time.monotonic() < until:
            self._tick()

    def _tick(self) -> None:
        self._children.tick(0.05)
        if self._stops:
            raise Interrupted

    def _stop(self) -> None:
        self._console.say("Stopping: workers finish or hand back what they hold ...")
        last = ("api", "redis")
        first = [name for name in self._children.names if name not in last]
        for group in (first, last[:1], last[1:]):
            self._children.stop(group, hurry=lambda: self._stops > 1)
        (self._options.data_dir / RUNNING).unlink(missing_ok=True)
        self._console.say(f"Stopped. Jobs and audio are kept in {self._options.data_dir}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, _: object) -> None:
            # A closed terminal tells it twice, by its shell too; that is no hurry.
            self._stops = max(1, self._stops) if number == signal.SIGHUP else self._stops + 1

        heeded = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
            heeded.append(signal.SIGHUP)
        before = {number: signal.signal(number, note) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def hello(url: str, voice: str | None = None, *, guarded: bool = False) -> str:
    """The one command a newcomer copies: it answers with a WAV that plays."""
    named = f" -d voice={voice}" if voice else ""
    key = ' -H "Authorization: Bearer $TTSFARM_KEY"' if guarded else ""
    return f'curl -s {url}/synthesize{key} --data-urlencode "text=你好，世界。"{named} -o hello.wav'


def require_room(data_dir: Path) -> None:
    """Raise `SetupProblem` when the disk of `data_dir` is about full."""
    free = shutil.disk_usage(data_dir).free
    if free < NEEDED_BYTES:
        raise SetupProblem(
            f"Only {free // 1_000_000} MB are free under {data_dir}; the farm needs "
            f"{NEEDED_BYTES // 1_000_000} MB. Make room or choose another --data-dir."
        )


def usable_port(host: str, port: int) -> int:
    """`port`, or a free one for 0; raises `SetupProblem` when it can not be listened on."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            # As the server will: a port in its closing wait is free, one that is served is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address[4])
            return int(probe.getsockname()[1])
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SetupProblem(
                f"--host {host} is no address of this machine. Use 127.0.0.1, or 0.0.0.0 for all."
            ) from error
        # Those below 1024 are root's: the next one would be refused as this one is.
        other = port + 1 if 1024 <= port < 65_535 else 8080
        raise SetupProblem(
            f"Port {port} on {host} can not be used ({error.strerror}). Choose another, such as "
            f"--port {other}, or --port 0 for any free one."
        ) from error


def _redis_program(embedded: EmbeddedRedis, lock: int, environment: Mapping[str, str]) -> Program:
    return Program(
        name="redis",
        command=embedded.command,
        environment=environment,
        inherits=(lock,),
        # It writes out what it has before it goes, even when the farm is killed.
        orphan_signal=signal.SIGTERM,
        grace_s=30.0,
    )


def _python(module: str, *args: str) -> tuple[str, ...]:
    """A command of this installation; -P, so that no file where we stand is taken for it."""
    return (sys.executable, "-P", "-m", module, *args)


def _reachable(host: str) -> str:
    if host in ANYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def ready_voices(client: FarmClient) -> list[str] | str:
    """The voices a farm that is ready can speak with, else why it is not ready."""
    try:
        client.ready()
        return client.ready_voices()
    except FarmUnreachable:
        return "the API does not answer yet"
    except FarmProblem as problem:
        return problem.message


def run_farm(options: UpOptions) -> None:
    """Run a farm in this process's name until it is told to stop."""
    if isinstance(sys.stdout, TextIOWrapper):  # no terminal's encoding may end a farm
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(sys.stdout, os.environ)
    try:
        Supervisor(options, console, os.environ).run()
    finally:
        console.flush(FAREWELL_S)
