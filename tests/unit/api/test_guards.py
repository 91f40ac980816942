"""What a process remembers of whom it let in."""

from api.guards import MOST_REMEMBERED, Remembered


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_remembered_is_forgotten_in_time() -> None:
    clock = Clock()
    known: Remembered[str] = Remembered(5.0, clock)
    known.put(b"k", "alice")
    clock.now_s = 4.9
    assert known.get(b"k") == "alice"
    clock.now_s = 5.0
    assert known.get(b"k") is None
    assert known.get(b"other") is None


def test_however_many_keys_are_tried_what_is_remembered_stays_small() -> None:
    known: Remembered[int] = Remembered(5.0, Clock())
    for number in range(MOST_REMEMBERED + 1):
        known.put(str(number).encode(), number)
    assert known.get(str(MOST_REMEMBERED).encode()) == MOST_REMEMBERED
    assert known.get(b"0") is None
