import socket
import threading

import pytest

from api.listening import Line


def fill(line):
    line.setblocking(False)
    try:
        while line.send(bytes(65_536)):
            pass
    except BlockingIOError:
        return


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_caller_that_hung_up_is_gone(ends):
    ours, theirs = ends
    line = Line(ours)
    assert not line.gone()
    theirs.sendall(b"the next request")
    assert not line.gone()
    ours.recv(100)
    theirs.close()
    assert line.gone()


def test_a_caller_that_reads_nothing_takes_nothing_more(ends):
    ours, _ = ends
    line = Line(ours)
    assert line.takes(0)
    fill(ours)
    assert not line.takes(0)


def test_a_caller_that_reads_again_takes_more(ends):
    ours, theirs = ends
    fill(ours)

    def empty():
        theirs.setblocking(False)
        try:
            while theirs.recv(65_536):
                pass
        except BlockingIOError:
            return

    reader = threading.Thread(target=empty)
    reader.start()
    assert Line(ours).takes(30)
    reader.join()


def test_where_the_server_shows_no_connection_all_is_well():
    line = Line(None)
    assert line.takes(0)
    assert not line.gone()
