"""What `ttsfarm up` does with its child processes, ports and output."""

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from api.children import LOOP_FROM, Children, Program
from api.console import WAITING_BYTES, Console
from api.problems import SetupProblem
from api.supervisor import NEEDED_BYTES, hello, require_room, usable_port
from tests.conftest import wait_until

WAIT_S = 60


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that jumps forward far enough for every backoff."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.4
        return self.now_s


def program(name: str, script: str, **options) -> Program:
    command = (sys.executable, "-c", script)
    return Program(name=name, command=command, environment=dict(os.environ), **options)


def tick_until(children: Children, condition) -> None:
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        children.tick(0.02)


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def children(out):
    kept = Children(console=Console(out, {}))
    yield kept
    kept.stop(kept.names, hurry=lambda: True)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_each_line_stands_behind_its_process_name(children, out):
    children.start(program("one", "import time; print('eins', flush=True); time.sleep(60)"))
    tick_until(children, lambda: "eins" in out.getvalue())
    assert out.getvalue() == "one      | eins\n"


def test_a_child_that_dies_is_started_again(children, out):
    children.start(program("one", "import time; print('up', flush=True); time.sleep(60)"))
    tick_until(children, lambda: out.getvalue().count("up") == 1)
    first = children.pid("one")
    os.kill(first, signal.SIGKILL)
    tick_until(children, lambda: out.getvalue().count("up") == 2)
    assert children.pid("one") != first
    assert "one was ended by SIGKILL; starting it again in 0.5 s" in out.getvalue()


def test_the_last_words_of_a_child_are_printed_even_without_a_line_end(children, out):
    children.start(program("one", "import sys; sys.stdout.write('last words'); sys.exit(3)"))
    tick_until(children, lambda: "exit status 3" in out.getvalue())
    assert "one      | last words\none ended with exit status 3" in out.getvalue()


def test_a_child_that_keeps_ending_stops_a_farm_that_is_not_up_yet(out):
    children = Children(console=Console(out, {}), clock=Clock())
    children.start(program("one", "raise SystemExit(7)"))
    with pytest.raises(SetupProblem, match=f"one has ended {LOOP_FROM} times.*exit status 7"):
        tick_until(children, lambda: False)


def test_a_child_that_keeps_ending_is_tried_on_in_a_farm_that_was_up(out):
    children = Children(console=Console(out, {}), patient=True, clock=Clock())
    children.start(program("one", "raise SystemExit(7)"))
    tick_until(children, lambda: f"{LOOP_FROM + 1} times in a row" in out.getvalue())
    children.stop(["one"], hurry=lambda: True)
    assert "Next try in 5 s" in out.getvalue()


def test_a_child_that_can_not_be_started_again_is_tried_on(out, tmp_path):
    children = Children(console=Console(out, {}), patient=True, clock=Clock())
    upgraded = tmp_path / "server"
    upgraded.symlink_to(sys.executable)
    children.start(Program(name="one", command=(str(upgraded), "-c", ""), environment={}))
    upgraded.unlink()
    told = "one could not be started (No such file or directory); starting it again"
    tick_until(children, lambda: told in out.getvalue())
    upgraded.symlink_to(sys.executable)
    tick_until(
        children, lambda: "one has ended" in out.getvalue() and "status 0)" in out.getvalue()
    )
    children.stop(["one"], hurry=lambda: True)


def test_a_child_is_asked_to_end_before_it_is_killed(children, out):
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('tidied up', flush=True), sys.exit()))\n"
        "print('up', flush=True); time.sleep(60)"
    )
    children.start(program("one", script))
    tick_until(children, lambda: "up" in out.getvalue())
    children.stop(["one"], hurry=lambda: False)
    assert "tidied up" in out.getvalue()
    assert children.names == []


@pytest.mark.parametrize(("grace_s", "hurry"), [(0.1, False), (600.0, True)])
def test_a_child_that_does_not_end_is_killed(children, out, grace_s, hurry):
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    children.start(program("one", script, grace_s=grace_s))
    tick_until(children, lambda: "up" in out.getvalue())
    pid = children.pid("one")
    children.stop(["one"], hurry=lambda: hurry)
    assert gone(pid)


def test_a_child_that_has_ended_by_itself_is_stopped_like_the_others(children, out):
    children.start(program("one", "print('last words')"))
    pid = children.pid("one")
    wait_until(lambda: gone(pid), WAIT_S)
    children.stop(["one"], hurry=lambda: False)
    assert out.getvalue() == "one      | last words\n"
    assert children.names == []


def test_nothing_a_dead_child_has_started_lives_on(children, out):
    script = (
        "import subprocess, sys, time\n"
        "heir = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('heir', heir.pid, flush=True); time.sleep(60)"
    )
    children.start(program("one", script))
    tick_until(children, lambda: "heir" in out.getvalue())
    heir = int(out.getvalue().split()[-1])
    os.kill(children.pid("one"), signal.SIGKILL)
    tick_until(children, lambda: "was ended" in out.getvalue())
    tick_until(children, lambda: gone(heir))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of the killed")
def test_no_child_outlives_a_killed_farm():
    script = (
        "import os, sys\n"
        "from api.children import Children, Program\n"
        "from api.console import Console\n"
        "kept = Children(console=Console(sys.stdout, {}))\n"
        "sleep = (sys.executable, '-c', 'import time; time.sleep(60)')\n"
        "kept.start(Program(name='one', command=sleep, environment=dict(os.environ)))\n"
        "print(kept.pid('one'), flush=True)\n"
        "while True: kept.tick(0.1)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as farm:
        child = int(farm.stdout.readline())
        assert not gone(child)
        farm.kill()
        farm.wait()
        give_up = time.monotonic() + WAIT_S
        while not gone(child):
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_a_taken_port_is_refused_with_another_to_try():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupProblem, match=rf"Port {port} .*--port"):
            usable_port("127.0.0.1", port)


def test_port_zero_becomes_a_free_one():
    assert usable_port("127.0.0.1", 0) > 0


def test_a_host_that_is_none_of_ours_is_refused():
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(SetupProblem, match=f"^--host {host} is no address of this machine"):
            usable_port(host, 8080)


def test_a_disk_with_room_is_accepted(tmp_path):
    require_room(tmp_path)
    assert NEEDED_BYTES < 1_000_000_000


def noon() -> str:
    return "12:00:00"


def test_colours_follow_the_terminal_and_no_color():
    plain, coloured, unwanted = io.StringIO(), Terminal(), Terminal()
    Console(plain, {}, noon).line("api", "text")
    Console(coloured, {}, noon).line("api", "text")
    Console(unwanted, {"NO_COLOR": "1"}, noon).line("api", "text")
    assert plain.getvalue() == "api      | text\n"
    assert unwanted.getvalue() == "12:00:00 api      text\n"
    assert coloured.getvalue() == "\x1b[2m12:00:00\x1b[0m \x1b[36mapi     \x1b[0m text\n"


def test_a_person_reads_sentences_a_program_reads_json():
    log = '{"level": "WARNING", "message": "lease lost", "job": "j1", "unit": "3"}'
    person, machine = Terminal(), io.StringIO()
    Console(person, {"NO_COLOR": "1"}, noon).line("worker-1", log)
    Console(machine, {}, noon).line("worker-1", log)
    assert person.getvalue() == "12:00:00 worker-1 warning: lease lost  job j1, unit 3\n"
    assert machine.getvalue() == f"worker-1 | {log}\n"


@pytest.mark.parametrize(("duration_ms", "shown"), [(4.2, "4 ms"), (2340, "2.3 s")])
def test_a_person_reads_how_long_it_took(duration_ms, shown):
    person = Terminal()
    log = json.dumps({"level": "INFO", "message": "spoken", "duration_ms": duration_ms})
    Console(person, {"NO_COLOR": "1"}, noon).line("worker-1", log)
    assert person.getvalue() == f"12:00:00 worker-1 spoken  {shown}\n"


@pytest.mark.parametrize(
    "trace", [{"exc_info": "Traceback\n  line"}, {"trace": "Traceback\n  line\n"}]
)
def test_every_line_of_a_trace_stands_behind_its_process(trace):
    person = Terminal()
    log = json.dumps({"level": "ERROR", "message": "a fault", **trace})
    Console(person, {"NO_COLOR": "1"}, noon).line("api", log)
    start = "12:00:00 api      "
    assert person.getvalue() == f"{start}error: a fault\n{start}Traceback\n{start}  line\n"


@pytest.mark.parametrize("line", ["{not json", "[]", '{"a": 1}', "plain"])
def test_any_other_line_is_shown_as_it_came(line):
    person = Terminal()
    Console(person, {"NO_COLOR": "1"}, noon).line("api", line)
    assert person.getvalue() == f"12:00:00 api      {line}\n"


def test_a_person_reads_the_warnings_of_redis_and_not_its_greetings():
    person, machine = Terminal(), io.StringIO()
    start = "9241:M 22 Nov 2026 10:39:30.666 #"
    lines = [
        f"{start} Redis is starting oO0OoO0OoO0Oo",
        f"{start} WARNING no memory",
        "9241:signal-handler (1795344173) Received SIGTERM scheduling shutdown...",
    ]
    for line in lines:
        Console(person, {"NO_COLOR": "1"}, noon).line("redis", line)
        Console(machine, {}, noon).line("redis", line)
    assert person.getvalue() == "12:00:00 redis    WARNING no memory\n"
    assert machine.getvalue().count(start) == 2


def test_a_reader_that_is_gone_stops_no_farm() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out:
        os.close(reader)
        for text in ("one", "two"):
            Console(out, {}).say(text)


def read_all(reader: int, console: Console) -> bytes:
    os.set_blocking(reader, False)
    read, idle = b"", 0
    while idle < 10:
        console.flush(0.01)
        try:
            read += os.read(reader, 65_536)
            idle = 0
        except BlockingIOError:
            idle += 1
    return read


@pytest.mark.timeout(60)
@pytest.mark.parametrize("ends", [os.pipe, pty.openpty], ids=["pipe", "terminal"])
def test_a_reader_that_stops_reading_holds_nobody_up_and_misses_nothing(ends) -> None:
    reader, writer = ends()
    with os.fdopen(writer, "w") as out:
        console = Console(out, {"NO_COLOR": "1"}, noon)
        for number in range(5000):
            console.say(f"{number:060}")
        lines = read_all(reader, console).splitlines()
    os.close(reader)
    assert lines == [b"%060d" % number for number in range(5000)]


@pytest.mark.timeout(60)
def test_what_a_reader_has_missed_for_too_long_is_counted() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out:
        console = Console(out, {})
        for number in range(WAITING_BYTES // 50):
            console.say(f"{number:099}")
        kept = read_all(reader, console).splitlines()
        console.say("back")
        last = read_all(reader, console).splitlines()
    os.close(reader)
    assert last == [
        b"(%d lines are missing here: nobody read them)" % (20_000 - len(kept)),
        b"back",
    ]
    assert kept == [b"%099d" % number for number in range(len(kept))]


@pytest.mark.timeout(60)
def test_a_farm_whose_reader_stalls_prints_on_when_it_reads_again(children) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out:
        children.console = Console(out, {})
        script = "for n in range(4000): print(f'{n:060}', flush=True)\nprint('end', flush=True)"
        children.start(program("one", f"import time\n{script}\ntime.sleep(60)"))
        while len(children.console._waiting) < 150_000:
            children.tick(0.02)
        os.set_blocking(reader, False)
        told = []
        while b"end" not in b"".join(told):
            children.tick(0.02)
            with suppress(BlockingIOError):
                told.append(os.read(reader, 65_536))
    os.close(reader)
    assert b"".join(told).count(b"\n") == 4001


def test_the_command_a_newcomer_copies_names_the_farm():
    assert "http://127.0.0.1:8080/synthesize" in hello("http://127.0.0.1:8080")
    assert " -d voice=fake " in hello("http://127.0.0.1:8080", "fake")


def test_a_line_of_a_child_can_not_move_the_cursor_of_a_terminal() -> None:
    out = Terminal()
    line = {"message": "said \x1b[2J\r\u202e\x9b", "level": "INFO"}
    Console(out, {}).line("api", json.dumps(line))
    assert "said \\x1b[2J\\r\\u202e\\x9b" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
