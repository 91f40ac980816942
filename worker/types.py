"""What text, engine and audio hand to one another.

Frozen values only: `worker/text` makes segments, `worker/engine` makes renderings of them,
`shared/audio` joins and encodes their waves. `worker/pipeline.py` is where they meet.
"""

from dataclasses import dataclass
from typing import Literal

from shared.alignment import Runs
from shared.audio.wave import Samples as Samples
from shared.audio.wave import TimingRows as TimingRows
from shared.audio.wave import Wave as Wave


@dataclass(frozen=True, kw_only=True)
class Substitution:
    """Source text that could not be spoken as written, and what was done about it.

    `start` and `end` are character offsets into the job's text; `replacement` is what is spoken
    instead, empty when nothing is.
    """

    start: int
    end: int
    text: str
    replacement: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A sentence-sized piece of a job, the unit of work.

    `text` is the source between the character offsets `start` and `end`; `spoken` is its
    normalised form. `symbols` is the model's own notation (space-separated
    `{sy$tone$syllable$word$emotion$speaker}` units), None for engines that take text.
    `emotion` and `emotion_intensity` override the request's where the markup says so, as do
    `voice`, `speed` (a factor), `pitch` (semitones) and `volume` (a gain factor).
    `syllables` pairs characters of `spoken` with syllables of `symbols`; `caption_words` pairs
    characters of `caption`, the text without markup, with those of `spoken`.
    """

    index: int
    start: int
    end: int
    text: str
    spoken: str
    symbols: str | None = None
    emotion: str | None = None
    emotion_intensity: float | None = None
    voice: str | None = None
    speed: float | None = None
    pitch: float | None = None
    volume: float | None = None
    silence_before_ms: int = 0
    silence_after_ms: int = 0
    syllables: Runs = ()
    caption: str = ""
    caption_words: Runs = ()


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What an engine renders in one go, with how to speak it.

    `speed` is a factor (2 is twice as fast), `pitch` semitones, `emotion_intensity` 0 to 2.
    """

    text: str
    symbols: str | None = None
    emotion: str = "neutral"
    emotion_intensity: float = 1.0
    speed: float = 1.0
    pitch: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When the units `start` to `end` (exclusive) are spoken, in seconds from the wave's start."""

    start: int
    end: int
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """One utterance as sound. `timings` count characters of its text or units of its symbols."""

    wave: Wave
    timings: tuple[Timing, ...]
    timed: Literal["characters", "symbols"] = "characters"
