"""From one sample rate to another in a stream, by soxr."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from shared.audio.wave import Samples


def resample(chunks: Iterable[Samples], from_hz: int, to_hz: int) -> Iterator[Samples]:
    """`chunks` at `to_hz`: the same sound, within one sample of the same duration.

    Equal rates pass the chunks through untouched.
    """
    if from_hz == to_hz:
        yield from chunks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    for chunk in chunks:
        yield stream.resample_chunk(chunk)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
