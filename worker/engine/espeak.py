"""The espeak engine: Mandarin and English on any machine, without a model or a download.

Emotions are rate, pitch and range; timings are espeak's own word events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from shared.errors import EngineUnavailable, TextRefused, UnknownEmotion
from shared.schemas import Voice
from worker.engine.espeak_library import RATE_LIMITS_WPM, Manner, Word, library
from worker.types import Rendering, Timing, Utterance, Wave

SAMPLE_RATE_HZ = 22_050
NEUTRAL_RATE_WPM = 175
NEUTRAL_PITCH = 50
NEUTRAL_RANGE = 50
PITCH_STEPS_PER_SEMITONE = 50 / 12  # the library's pitch spans two octaves in 100 steps
MANNER_REVISION = 1  # raise when anything below changes how a text sounds


@dataclass(frozen=True, kw_only=True)
class Colour:
    """An emotion at intensity 1: factors on rate and range, semitones on pitch."""

    rate: float = 1.0
    semitones: float = 0.0
    range: float = 1.0


EMOTIONS: dict[str, Colour] = {
    "neutral": Colour(),
    "happy": Colour(rate=1.10, semitones=2.0, range=1.4),
    "angry": Colour(rate=1.14, semitones=1.0, range=1.6),
    "sad": Colour(rate=0.84, semitones=-2.0, range=0.75),
    "fear": Colour(rate=1.18, semitones=3.0, range=0.8),
    "hate": Colour(rate=0.92, semitones=-1.5, range=1.25),
    "surprise": Colour(rate=1.04, semitones=3.5, range=1.7),
}


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A voice of ours and the library's file behind it."""

    file: str
    language: str
    description: str


SPEAKERS: dict[str, Speaker] = {
    "espeak-zh": Speaker(
        file="lang/sit/cmn", language="zh-CN", description="Mandarin by espeak-ng; reads English"
    ),
    "espeak-en": Speaker(file="lang/gmw/en", language="en-GB", description="English by espeak-ng"),
}


class EspeakEngine:
    """Speaks with espeak-ng; the same utterance always gives the same wave."""

    name = "espeak"
    takes_symbols = False
    batch_size = 1

    def voices(self) -> Sequence[Voice]:
        """The Mandarin and the English voice."""
        revision = f"{_loader_version()}+{MANNER_REVISION}"
        return [
            Voice(
                name=name,
                engine=self.name,
                language=speaker.language,
                emotions=tuple(EMOTIONS),
                sample_rate_hz=SAMPLE_RATE_HZ,
                revision=revision,
                description=speaker.description,
            )
            for name, speaker in SPEAKERS.items()
        ]

    def load(self, voice: str) -> None:
        """Load the library; raises `EngineUnavailable` for it or for a voice it lacks."""
        _speaker(voice)
        if library().rate_hz != SAMPLE_RATE_HZ:
            raise EngineUnavailable(
                f"espeak-ng speaks at {library().rate_hz} Hz here, expected {SAMPLE_RATE_HZ}"
            )

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        """One rendering each at 22,050 Hz, timed by characters.

        Raises `TextRefused` for text in which espeak finds nothing to say, `SynthesisError`
        when it fails, `UnknownEmotion`.
        """
        file = _speaker(voice).file
        for utterance in utterances:
            if utterance.emotion not in EMOTIONS:
                raise UnknownEmotion.of(voice, utterance.emotion, EMOTIONS)
        return [_render(file, utterance) for utterance in utterances]


def _render(file: str, utterance: Utterance) -> Rendering:
    text = _inert(utterance.text)
    speech = library().speak(file, text, manner(utterance))
    if not speech.words:
        raise TextRefused(f"espeak-ng found nothing to say in {len(text)} characters")
    wave = Wave(samples=speech.samples, rate_hz=SAMPLE_RATE_HZ)
    return Rendering(wave=wave, timings=timings(text, speech.words, wave.duration_s))


def manner(utterance: Utterance) -> Manner:
    """The library's settings for an utterance: its emotion, speed and pitch together.

    What lies beyond the library's limits is held at them; an octave down is about nine semitones.
    """
    colour = EMOTIONS[utterance.emotion]
    intensity = utterance.emotion_intensity
    rate = NEUTRAL_RATE_WPM * utterance.speed * colour.rate**intensity
    semitones = utterance.pitch + colour.semitones * intensity
    widening = 2 ** (semitones / 12)  # a tone's interval in Hz grows with its height
    return Manner(
        rate_wpm=_within(rate, *RATE_LIMITS_WPM),
        pitch=_within(NEUTRAL_PITCH + semitones * PITCH_STEPS_PER_SEMITONE, 0, 99),
        range=_within(NEUTRAL_RANGE * colour.range**intensity * widening, 0, 99),
    )


def timings(text: str, words: Sequence[Word], duration_s: float) -> tuple[Timing, ...]:
    """Which characters of `text` sound when; units follow one another without overlap.

    The library reports a number's parts each with the number's place and sometimes a place
    further back, so a word begins only past the end of the one before.
    """
    starts: list[Word] = []
    covered = 0
    for word in words:
        later = not starts or word.start_s > starts[-1].start_s
        if covered <= word.position < len(text) and later:
            starts.append(word)
            covered = word.position + max(1, word.n_chars)
    units = []
    for index, word in enumerate(starts):
        last = index + 1 == len(starts)
        limit = len(text) if last else starts[index + 1].position
        end_s = duration_s if last else starts[index + 1].start_s
        end = word.position + max(1, len(text[word.position : limit].rstrip(_UNSPOKEN)))
        units.append(Timing(start=word.position, end=end, start_s=word.start_s, end_s=end_s))
    return tuple(units)


_UNSPOKEN = " \t\r\n，。！？；：、…—（）《》〈〉“”‘’「」『』【】,.!?;:()[]{}<>\"'-"


def _inert(text: str) -> str:
    """`text` with what espeak takes as commands or can not decode blanked, place by place."""
    return "".join(" " if c < " " or "\x7f" <= c < "\xa0" or _surrogate(c) else c for c in text)


def _surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _within(value: float, low: int, high: int) -> int:
    return max(low, min(high, round(value)))


def _speaker(voice: str) -> Speaker:
    try:
        return SPEAKERS[voice]
    except KeyError:
        known = ", ".join(SPEAKERS)
        raise EngineUnavailable(f"espeak has no voice {voice!r}; it has {known}") from None


def _loader_version() -> str:
    try:
        return version("espeakng-loader")
    except PackageNotFoundError:
        return "absent"
