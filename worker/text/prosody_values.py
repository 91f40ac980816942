"""Values of rate, pitch and volume: Aliyun's integers, and the words and units of W3C SSML."""

import math
import re
from collections.abc import Mapping
from typing import Final

_RATES: Final = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "fast": 1.25, "x-fast": 1.5,
                 "default": 1.0}  # fmt: skip
_PITCHES: Final = {"x-low": -4.0, "low": -2.0, "medium": 0.0, "high": 2.0, "x-high": 4.0,
                   "default": 0.0}  # fmt: skip
_VOLUMES: Final = {"silent": 0.0, "x-soft": 0.25, "soft": 0.5, "medium": 1.0, "loud": 1.5,
                   "x-loud": 2.0, "default": 1.0}  # fmt: skip
_FORMATS: Final = {"encodeType": ("pcm", "wav", "mp3"),
                   "sampleRate": ("8000", "16000", "24000", "48000")}  # fmt: skip


class BadValueError(ValueError):
    """A value outside what the attribute takes; the message says what it takes."""


def aliyun(attributes: Mapping[str, str]) -> tuple[float | None, float | None, float | None]:
    """Speed factor, pitch in semitones and gain of `<speak>`; None for what is not given."""
    for name, allowed in _FORMATS.items():
        if name in attributes and attributes[name] not in allowed:
            raise BadValueError(f"{name} is one of {', '.join(allowed)}")
    rate = _integer(attributes, "rate", -500, 500)
    pitch = _integer(attributes, "pitch", -500, 500)
    volume = _integer(attributes, "volume", 0, 100)
    return (
        None if rate is None else _speed(rate),
        None if pitch is None else pitch * 12 / 500,
        None if volume is None else volume / 50,
    )


def _speed(rate: int) -> float:
    """Aliyun's rate as a factor: -500 is half the speed, 500 double."""
    return 1 / (1 - (0.001 if rate >= 0 else 0.002) * rate)


def _integer(attributes: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    written = attributes.get(name)
    if written is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,4}", written) or not low <= int(written) <= high:
        raise BadValueError(f"{name} is a whole number from {low} to {high}")
    return int(written)


def prosody(attributes: Mapping[str, str]) -> tuple[float | None, float | None, float | None]:
    """Speed factor, pitch in semitones and gain of `<prosody>`; None for what is not given."""
    found = (
        _rate(attributes["rate"]) if "rate" in attributes else None,
        _pitch(attributes["pitch"]) if "pitch" in attributes else None,
        _volume(attributes["volume"]) if "volume" in attributes else None,
    )
    if found == (None, None, None):
        raise BadValueError("<prosody> needs rate, pitch or volume")
    return found


def _rate(written: str) -> float:
    if written in _RATES:
        return _RATES[written]
    if match := re.fullmatch(r"([+-]?)([0-9]{1,3}(?:\.[0-9]{1,3})?)%", written):
        value = float(match.group(2)) / 100
        factor = {"": value, "+": 1 + value, "-": 1 - value}[match.group(1)]
    elif re.fullmatch(r"[0-9](?:\.[0-9]{1,3})?", written):
        factor = float(written)
    else:
        factor = _speed(_integer({"rate": written}, "rate", -500, 500) or 0)
    if not 0.5 <= factor <= 2:
        raise BadValueError("rate is 50% to 200%, a word or a whole number from -500 to 500")
    return factor


def _pitch(written: str) -> float:
    if written in _PITCHES:
        return _PITCHES[written]
    if match := re.fullmatch(r"([+-]?[0-9]{1,2}(?:\.[0-9]{1,3})?)st", written):
        semitones = float(match.group(1))
    elif match := re.fullmatch(r"([+-][0-9]{1,3}(?:\.[0-9]{1,3})?)%", written):
        semitones = 12 * math.log2(max(0.01, 1 + float(match.group(1)) / 100))
    else:
        semitones = (_integer({"pitch": written}, "pitch", -500, 500) or 0) * 12 / 500
    if not -12 <= semitones <= 12:
        raise BadValueError(
            "pitch is -12st to +12st, a percentage or a whole number from -500 to 500"
        )
    return semitones


def _volume(written: str) -> float:
    if written in _VOLUMES:
        return _VOLUMES[written]
    if match := re.fullmatch(r"([+-][0-9]{1,2}(?:\.[0-9]{1,2})?)dB", written):
        return min(2.0, float(10 ** (float(match.group(1)) / 20)))
    volume = _integer({"volume": written}, "volume", 0, 100)
    return 1.0 if volume is None else volume / 50
