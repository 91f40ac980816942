import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio.join import KNEE, Piece, join, pause_samples
from shared.errors import InternalError
from worker.types import Samples, Wave

RATE_HZ = 22_050


def piece(n_samples: int, level: float = 0.5, before_ms: int = 0, after_ms: int = 0) -> Piece:
    samples = np.full(n_samples, level, dtype=np.float32)
    return Piece(
        wave=Wave(samples=samples, rate_hz=RATE_HZ),
        silence_before_ms=before_ms,
        silence_after_ms=after_ms,
    )


def joined(*pieces: Piece, volume: float = 1.0) -> Samples:
    louder = [replace(piece, volume=volume) for piece in pieces]
    return np.concatenate([np.zeros(0, np.float32), *join(louder)])


@given(
    st.lists(
        st.builds(
            piece,
            st.integers(0, 500),
            before_ms=st.integers(0, 1500),
            after_ms=st.integers(0, 1500),
        ),
        max_size=6,
    )
)
def test_the_whole_is_as_long_as_waves_and_pauses_to_the_sample(pieces: list[Piece]) -> None:
    expected = sum(
        len(p.wave.samples)
        + pause_samples(p.silence_before_ms, RATE_HZ)
        + pause_samples(p.silence_after_ms, RATE_HZ)
        for p in pieces
    )
    assert len(joined(*pieces)) == expected


def test_pieces_come_in_order_between_true_silence() -> None:
    sound = joined(piece(1000, 0.2, before_ms=100), piece(1000, 0.6, before_ms=50, after_ms=10))
    first, second = 2205, 2205 + 1000 + 1102
    assert not sound[:first].any()
    assert sound[first + 500] == pytest.approx(0.2)
    assert not sound[first + 1000 : second].any()
    assert sound[second + 500] == pytest.approx(0.6)
    assert not sound[-220:].any()


def test_joints_do_not_click() -> None:
    sound = joined(piece(2000, 0.9, after_ms=20), piece(2000, -0.9))
    assert np.abs(np.diff(sound, prepend=0.0, append=0.0)).max() < 0.03


def test_the_middle_of_a_wave_is_untouched_at_volume_one() -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 5000).astype(np.float32)
    sound = joined(Piece(wave=Wave(samples=noise, rate_hz=RATE_HZ)))
    np.testing.assert_array_equal(sound[100:-100], noise[100:-100])


def test_the_waves_given_are_not_changed() -> None:
    given_piece = piece(1000)
    joined(given_piece, volume=2.0)
    assert (given_piece.wave.samples == 0.5).all()


@pytest.mark.parametrize(("volume", "level"), [(0.0, 0.0), (0.5, 0.2), (1.5, 0.6)])
def test_volume_is_a_gain(volume: float, level: float) -> None:
    assert joined(piece(1000, 0.4), volume=volume)[500] == pytest.approx(level)


@given(st.floats(0, 2), st.floats(-1, 1, width=32))
def test_volume_never_leaves_the_range_nor_changes_the_sign(volume: float, level: float) -> None:
    value = float(joined(piece(1000, level), volume=volume)[500])
    assert -1.0 <= value <= 1.0
    assert value * level >= 0


def test_raised_volume_bends_loud_samples_instead_of_cutting_them() -> None:
    levels = np.linspace(0.3, 1.0, 100, dtype=np.float32)
    loud = [float(joined(piece(1000, float(level)), volume=2.0)[500]) for level in levels]
    assert all(quieter < louder for quieter, louder in itertools.pairwise(loud))
    assert loud[-1] > KNEE


def test_a_long_pause_comes_in_bounded_chunks() -> None:
    chunks = [*join([piece(10, before_ms=60_000)])]
    assert max(map(len, chunks)) <= RATE_HZ
    assert sum(map(len, chunks)) == 60 * RATE_HZ + 10


def test_pieces_are_read_one_at_a_time() -> None:
    read: list[int] = []

    def pieces() -> itertools.chain[Piece]:
        def one(index: int) -> Piece:
            read.append(index)
            return piece(10)

        return itertools.chain.from_iterable([one(index)] for index in range(5))

    stream = join(pieces())
    next(stream)
    assert read == [0]


def test_segments_of_different_rates_are_a_fault_of_ours() -> None:
    odd = Piece(wave=Wave(samples=np.zeros(10, np.float32), rate_hz=16_000))
    with pytest.raises(InternalError, match="22050 and 16000 Hz"):
        joined(piece(10), odd)
