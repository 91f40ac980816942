import io
import threading

import pytest

from shared.audio.tape import Tape


@pytest.fixture
def tape():
    tape = Tape()
    yield tape
    tape.close()


def test_what_is_written_is_read_at_any_place(tape):
    tape.write(b"abc")
    tape.write(b"def")
    assert tape.read_at(2, 3) == b"cde"
    assert tape.read_at(4, 100) == b"ef"
    assert tape.read_at(6, 1) == tape.read_at(60, 1) == b""


def test_a_rewritten_beginning_changes_nothing_and_is_measured(tape):
    tape.write(b"header and sound")
    tape.seek(2)
    tape.write(b"XXXX")
    assert tape.read_at(0, 99) == b"header and sound"
    assert tape.header_bytes == 6


def test_a_rewrite_past_the_end_adds_what_is_new(tape):
    tape.write(b"abcd")
    tape.seek(-2, io.SEEK_END)
    tape.write(b"XXef")
    assert tape.read_at(0, 99) == b"abcdef"
    assert tape.tell() == tape.size_bytes == 6


def test_a_listener_wakes_when_there_is_more_and_at_the_end(tape):
    heard = []

    def listen():
        at = 0
        while not (tape.ended and at == tape.size_bytes):
            tape.wait(at, 30)
            heard.append(tape.read_at(at, 100))
            at += len(heard[-1])

    listener = threading.Thread(target=listen)
    listener.start()
    tape.write(b"one")
    tape.write(b"two")
    tape.end()
    listener.join(30)
    assert b"".join(heard) == b"onetwo"
