"""Child processes: started, their lines printed, started again when they end, stopped in order.

One thread does all of it, so that forking is safe. A child is killed when this process is, and
lives in a process group of its own: a terminal's Ctrl-C reaches only us.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from api.console import Console
from api.problems import SetupProblem

SETTLED_S = 10.0
DELAYS_S = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
LOOP_FROM = 3
READ_BYTES = 65_536
LINE_BYTES = 65_536
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Program:
    """A process the farm is made of.

    `orphan_signal` is what it gets when we are killed, `grace_s` how long it may take to end.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    inherits: tuple[int, ...] = ()
    orphan_signal: signal.Signals = signal.SIGKILL
    grace_s: float = 10.0


@dataclass(kw_only=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    start_at_s: float | None = None
    failures: int = 0
    unfinished: bytes = b""


@dataclass(kw_only=True)
class Children:
    """The running children; `tick` does whatever is due."""

    console: Console
    patient: bool = False
    clock: Callable[[], float] = time.monotonic
    _children: dict[str, _Child] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def start(self, program: Program) -> None:
        """Start `program` and keep it running from now on."""
        child = _Child(program=program)
        self._children[program.name] = child
        self._launch(child)

    def tick(self, timeout_s: float) -> None:
        """Print what children wrote within `timeout_s` and start again those that ended.

        Until `patient` is set, a child that keeps ending raises `SetupProblem`.
        """
        for key, _ in self._selector.select(timeout_s):
            self._read(key.data)
        for child in list(self._children.values()):
            self._reap(child)
            if child.start_at_s is not None and self.clock() >= child.start_at_s:
                self._launch(child)
        self.console.flush()

    def stop(self, names: Iterable[str], hurry: Callable[[], bool]) -> None:
        """End these children together: asked first, killed after their grace or on `hurry`."""
        leaving = [self._children[name] for name in names if name in self._children]
        for child in leaving:
            child.start_at_s = None
            if child.process is not None:
                # Not `terminate`: it would reap one that has ended, whose last words we still want.
                os.kill(child.process.pid, signal.SIGTERM)
        begun = self.clock()
        while running := [c for c in leaving if c.process is not None]:
            for key, _ in self._selector.select(0.05):
                self._read(key.data)
            for child in running:
                if hurry() or self.clock() > begun + child.program.grace_s:
                    _kill_group(child.process)
                self._forget(child)
            self.console.flush()
        for child in leaving:
            del self._children[child.program.name]

    @property
    def names(self) -> list[str]:
        return list(self._children)

    def pid(self, name: str) -> int | None:
        """The process id of a child, None while it is not running."""
        process = self._children[name].process
        return process.pid if process else None

    def _launch(self, child: _Child) -> None:
        program = child.program
        child.start_at_s = None
        child.started_s = self.clock()
        try:
            child.process = process = subprocess.Popen(
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                pass_fds=program.inherits,
                start_new_session=True,
                preexec_fn=_tie(program.orphan_signal),  # safe: no other thread runs
            )
        except OSError as error:  # no memory or process is left for it, or its program is gone
            self._try_again(child, f"could not be started ({error.strerror})")
            return
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def _read(self, child: _Child) -> bool:
        """Print one read's worth of lines; False when there was nothing to read."""
        stream = child.process.stdout if child.process else None
        if stream is None or stream.closed:
            return False
        data = stream.read(READ_BYTES)
        if data == b"":
            self._selector.unregister(stream)
            stream.close()
        if not data:
            return False
        *lines, child.unfinished = (child.unfinished + data).split(b"\n")
        if len(child.unfinished) > LINE_BYTES:
            lines, child.unfinished = [*lines, child.unfinished], b""
        for line in lines:
            self._print(child, line)
        return True

    def _print(self, child: _Child, line: bytes) -> None:
        if text := line.decode("utf-8", "replace").rstrip():
            self.console.line(child.program.name, text)

    def _forget(self, child: _Child) -> int | None:
        """The exit status of a child that has ended, with nothing of it left; else None."""
        process = child.process
        if process is None or not _has_ended(process.pid):
            return None
        _kill_group(process)  # what it left behind may still hold its port
        while self._read(child):
            pass
        self._print(child, child.unfinished)
        child.unfinished = b""
        if process.stdout is not None and not process.stdout.closed:
            self._selector.unregister(process.stdout)
            process.stdout.close()
        child.process = None
        return process.wait()

    def _reap(self, child: _Child) -> None:
        status = self._forget(child)
        if status is None:
            return
        if self.clock() - child.started_s >= SETTLED_S:
            child.failures = 0
        self._try_again(child, _describe(status))

    def _try_again(self, child: _Child, how: str) -> None:
        child.failures += 1
        delay_s = DELAYS_S[min(child.failures, len(DELAYS_S)) - 1]
        child.start_at_s = self.clock() + delay_s
        name = child.program.name
        if child.failures < LOOP_FROM:
            self.console.alert(f"{name} {how}; starting it again in {delay_s:g} s")
            return
        trouble = f"{name} has ended {child.failures} times in a row (the last time it {how})"
        if not self.patient:
            raise SetupProblem(f"{trouble}. Its lines above say why; ttsfarm doctor may know more.")
        self.console.alert(f"{trouble}. Its lines above say why. Next try in {delay_s:g} s")


def _describe(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, leaving it unreaped so that its number stays its own."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _tie(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """What a child does before its program starts, so that it does not outlive us."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return tie
