"""Which sample rates each audio format has, for the side that checks and the side that encodes."""

from collections.abc import Sequence

from shared.schemas import AudioFormat

ANY_RATE = range(8_000, 48_001)

# MPEG-1, 2 and 2.5 layer III; RFC 6716 section 2. The other formats take any rate.
_RATES: dict[str, Sequence[int]] = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}


def allowed_rates(audio_format: AudioFormat) -> Sequence[int]:
    """The rates in Hz that `audio_format` can hold, ascending; a `range` where any will do."""
    return _RATES.get(audio_format, ANY_RATE)


def nearest_rate(audio_format: AudioFormat, rate_hz: int) -> int:
    """The rate `audio_format` has for sound of `rate_hz`: the next one up, which loses nothing."""
    allowed = allowed_rates(audio_format)
    if rate_hz in allowed:
        return rate_hz
    return next((rate for rate in allowed if rate > rate_hz), allowed[-1])
