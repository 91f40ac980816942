"""From one sample rate to another by soxr: a stream, or a wave at once."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from shared.audio.wave import Samples, Wave

QUALITY = "HQ"


def resample(chunks: Iterable[Samples], from_hz: int, to_hz: int) -> Iterator[Samples]:
    """`chunks` at `to_hz`: the same sound, within one sample of the same duration.

    Equal rates pass the chunks through untouched.
    """
    if from_hz == to_hz:
        yield from chunks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=QUALITY)
    for chunk in chunks:
        yield stream.resample_chunk(chunk)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def at_rate(wave: Wave, rate_hz: int) -> Wave:
    """The wave at `rate_hz`: itself where it has that rate, else `samples_at` long."""
    if wave.rate_hz == rate_hz:
        return wave
    n_samples = samples_at(len(wave.samples), wave.rate_hz, rate_hz)
    found = soxr.resample(wave.samples, wave.rate_hz, rate_hz, quality=QUALITY)[:n_samples]
    samples = np.zeros(n_samples, dtype=np.float32)
    samples[: len(found)] = found
    return Wave(samples=samples, rate_hz=rate_hz)


def samples_at(n_samples: int, from_hz: int, to_hz: int) -> int:
    """How many samples a wave has at another rate."""
    return round(n_samples * to_hz / from_hz)
