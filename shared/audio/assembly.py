"""A job's segments as one sound; the finished file and the live stream are both made of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from shared.audio.join import Piece, join
from shared.audio.resample import at_rate, resample
from shared.audio.wave import Samples, Wave
from shared.errors import EmptyAudio
from shared.formats import nearest_rate
from shared.schemas import JobRequest, SegmentSpec


@dataclass(frozen=True, kw_only=True)
class Sound:
    """float32 chunks of shape [n] at the rate the job's file has; read once."""

    chunks: Iterator[Samples]
    rate_hz: int


def sound_of(segments: Iterable[tuple[SegmentSpec, Wave]], request: JobRequest) -> Sound:
    """The job's sound; `segments` are in order and read one at a time, the first one at once.

    Markup may change to a voice of another rate; the first segment's is the job's. Raises
    `EmptyAudio` without any segment, and what `segments` raises.
    """
    waves = iter(segments)
    first = next(waves, None)
    if first is None:
        raise EmptyAudio("the job has no segments to join")
    from_hz = first[1].rate_hz
    to_hz = request.sample_rate_hz or nearest_rate(request.format, from_hz)
    joined = join(_piece(spec, at_rate(wave, from_hz)) for spec, wave in chain([first], waves))
    return Sound(chunks=resample(joined, from_hz, to_hz), rate_hz=to_hz)


def _piece(spec: SegmentSpec, wave: Wave) -> Piece:
    return Piece(
        wave=wave,
        volume=spec.volume,
        silence_before_ms=spec.silence_before_ms,
        silence_after_ms=spec.silence_after_ms,
    )
