"""Azure's names and numbers in the farm's: output formats, styles, rate, pitch and volume."""

import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from shared.schemas import AudioFormat

DEFAULT_FORMAT: Final = "riff-24khz-16bit-mono-pcm"
STYLES: Final = Path(__file__).parent / "styles.tsv"
VOICED_HZ: Final = 200.0  # a shift in Hz is taken as one of a voice about so high
SPEEDS, PITCHES, VOLUMES = (0.5, 2.0), (-12.0, 12.0), (0.0, 2.0)

_RATES: Final = {"x-slow": 0.5, "slow": 0.64, "medium": 1.0, "fast": 1.55, "x-fast": 2.0}
_PITCHES: Final = {"x-low": -10.3, "low": -3.9, "medium": 0.0, "high": 3.2, "x-high": 6.4}
_VOLUMES: Final = {"silent": 0.0, "x-soft": 0.2, "soft": 0.4, "medium": 0.6, "loud": 0.8,
                   "x-loud": 1.0}  # fmt: skip
_NUMBER: Final = r"([0-9]{1,4}(?:\.[0-9]{1,6})?)"


def _pcm(kind: str) -> dict[str, int]:
    rates = {"8khz": 8_000, "16khz": 16_000, "22050hz": 22_050, "24khz": 24_000,
             "44100hz": 44_100, "48khz": 48_000}  # fmt: skip
    return {f"{kind}-{name}-16bit-mono-pcm": rate for name, rate in rates.items()}


def _mp3() -> dict[str, int]:
    bits = {16: (32, 64, 128), 24: (48, 96, 160), 48: (96, 192)}
    return {
        f"audio-{khz}khz-{kbit}kbitrate-mono-mp3": khz * 1000 for khz in bits for kbit in bits[khz]
    }


# By the farm's format: the names of Azure's with their sample rates. The others need encoders the
# farm has not: A-law, mu-law, SILK, AMR, G.722, WebM, and Opus without a container.
_NAMES: Final[dict[AudioFormat, dict[str, int]]] = {
    "wav": _pcm("riff"),
    "mp3": _mp3(),
    "opus": {f"ogg-{khz}khz-16bit-mono-opus": khz * 1000 for khz in (16, 24, 48)},
    "pcm": _pcm("raw"),
}
FORMATS: Final[dict[str, tuple[AudioFormat, int]]] = {
    name: (ours, rate_hz) for ours, names in _NAMES.items() for name, rate_hz in names.items()
}
ENDINGS: Final[dict[AudioFormat, str]] = {"opus": "ogg"}  # of files, where it is not the format


@cache
def _styles() -> dict[str, str]:
    rows = (line.split("\t") for line in STYLES.read_text("utf-8").splitlines() if line[0] != "#")
    return {style: emotion for emotion, styles in rows for style in styles.split()}


def emotion_of(style: str, emotions: Sequence[str]) -> str | None:
    """The emotion behind a style, None where the voice has none: it is then spoken neutrally."""
    named = _styles().get(style.lower(), style.lower())
    return named if named in emotions else None


def read_rate(given: str | float) -> float:
    """A speaking rate as a factor: a number, a percentage of change, or a word."""
    text = str(given).strip().lower()
    if text in _RATES or text == "default":
        return _RATES.get(text, 1.0)
    if found := re.fullmatch(rf"([+-]?){_NUMBER}%", text):
        return _within(1 + _signed(found) / 100, SPEEDS)
    if found := re.fullmatch(_NUMBER, text):
        return _within(float(found[1]), SPEEDS)
    raise ValueError("rate is a number such as 1.2, a change such as -10%, or slow, fast, ...")


def read_pitch(given: str | float) -> float:
    """A pitch in semitones: `+2st`, a change in percent or Hz, or a word."""
    text = str(given).strip().lower()
    if text in _PITCHES or text == "default":
        return _PITCHES.get(text, 0.0)
    if found := re.fullmatch(rf"([+-]?){_NUMBER}st", text):
        return _within(_signed(found), PITCHES)
    if found := re.fullmatch(rf"([+-]?){_NUMBER}%", text):
        return _semitones(1 + _signed(found) / 100)
    if found := re.fullmatch(rf"([+-]){_NUMBER}hz", text):
        return _semitones(1 + _signed(found) / VOICED_HZ)
    raise ValueError("pitch is a change such as +2st, -10% or +20Hz, or low, high, ...")


def read_volume(given: str | float) -> float:
    """A volume as a gain: 0 to 100, a change such as `+10` or `-20%`, or a word."""
    text = str(given).strip().lower()
    if text in _VOLUMES or text == "default":
        return _VOLUMES.get(text, 1.0)
    if found := re.fullmatch(rf"([+-]){_NUMBER}db", text):
        return _within(float(10 ** (_signed(found) / 20)), VOLUMES)
    if (found := re.fullmatch(rf"([+-]){_NUMBER}%?", text)) or (
        found := re.fullmatch(rf"([+-]?){_NUMBER}%", text)
    ):
        return _within(1 + _signed(found) / 100, VOLUMES)
    if (found := re.fullmatch(_NUMBER, text)) and float(found[1]) <= 100:
        return float(found[1]) / 100
    raise ValueError("volume is 0 to 100, a change such as +10 or -20%, or soft, loud, ...")


def _signed(found: re.Match[str]) -> float:
    return float(found[2]) * (-1 if found[1] == "-" else 1)


def _semitones(factor: float) -> float:
    return _within(12 * math.log2(max(0.01, factor)), PITCHES)


def _within(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(high, max(low, value))
