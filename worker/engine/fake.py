"""The fake engine: tones whose length follows the text, for tests, load and faults on purpose.

Directives in the text make faults: `[[crash]]` kills the process, `[[fail]]` fails so that a
retry may help, `[[refuse]]` so that none does, `[[sleep 2]]` takes 2 s, and `[[silent]]`,
`[[nan]]` and `[[clip]]` spoil the wave. They are not spoken.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Sequence

import numpy as np

from shared.errors import EngineUnavailable, SynthesisError, TextRefused, UnknownEmotion
from shared.schemas import Voice
from worker.types import Rendering, Samples, Timing, Utterance, Wave

SAMPLE_RATE_HZ = 16_000
S_PER_CHAR = 0.08
LEVEL = 0.3
LOWEST_HZ = 150.0
N_PITCHES = 24  # semitones; two octaves
# Semitones at intensity 1; no two meet at any pair of whole intensities.
EMOTIONS = {
    "neutral": 0.0,
    "happy": 0.3,
    "angry": 0.5,
    "sad": 0.7,
    "fear": 1.1,
    "hate": 1.3,
    "surprise": 1.7,
}
VOICES = {"fake": 0, "fake-2": 7}  # semitones

_DIRECTIVE = re.compile(r"\[\[(crash|fail|refuse|silent|nan|clip|sleep [0-9.]+)\]\]")


class FakeEngine:
    """Speaks in tones; every character costs `cost_s_per_char` of waiting, every load `load_s`."""

    name = "fake"
    takes_symbols = False
    batch_size = 1  # a batch would gain nothing, and keep a greeting waiting

    def __init__(
        self,
        cost_s_per_char: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        *,
        load_s: float = 0.0,
    ) -> None:
        self._cost_s_per_char = cost_s_per_char
        self._load_s = load_s
        self._sleep = sleep

    def voices(self) -> Sequence[Voice]:
        """`fake` and `fake-2`, which sounds higher."""
        return [
            Voice(
                name=name,
                engine=self.name,
                language="und",
                emotions=tuple(EMOTIONS),
                sample_rate_hz=SAMPLE_RATE_HZ,
                revision="1",
                description="Tones for tests; says nothing",
            )
            for name in VOICES
        ]

    def load(self, voice: str) -> None:
        """Nothing but time is loaded; raises `EngineUnavailable` for a voice it lacks."""
        if voice not in VOICES:
            raise EngineUnavailable(f"fake has no voice {voice!r}; it has {', '.join(VOICES)}")
        if self._load_s:
            self._sleep(self._load_s)

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        """One wave each at 16 kHz, timed by characters; faults where the text directs so.

        Raises `UnknownEmotion`.
        """
        for utterance in utterances:
            if utterance.emotion not in EMOTIONS:
                raise UnknownEmotion.of(voice, utterance.emotion, EMOTIONS)
        return [self._render(voice, utterance) for utterance in utterances]

    def _render(self, voice: str, utterance: Utterance) -> Rendering:
        directives = _DIRECTIVE.findall(utterance.text)
        for directive in directives:
            self._obey(directive)
        spoken = [*_spoken(utterance.text)]
        if self._cost_s_per_char:
            self._sleep(self._cost_s_per_char * len(spoken))
        n_each = round(S_PER_CHAR / utterance.speed * SAMPLE_RATE_HZ)
        tones = [_tone(character, n_each, voice, utterance) for _, character in spoken]
        samples = np.concatenate([*tones, np.zeros(n_each, dtype=np.float32)])
        each_s = n_each / SAMPLE_RATE_HZ
        return Rendering(
            wave=Wave(samples=_spoilt(samples, directives), rate_hz=SAMPLE_RATE_HZ),
            timings=tuple(
                Timing(start=at, end=at + 1, start_s=i * each_s, end_s=(i + 1) * each_s)
                for i, (at, _) in enumerate(spoken)
            ),
        )

    def _obey(self, directive: str) -> None:
        if directive == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif directive == "fail":
            raise SynthesisError("the text directed the fake engine to fail")
        elif directive == "refuse":
            raise TextRefused("the text directed the fake engine to refuse")
        elif directive.startswith("sleep "):
            self._sleep(float(directive.removeprefix("sleep ")))


def _spoken(text: str) -> list[tuple[int, str]]:
    """Offset and character of all that makes a tone: letters and digits outside directives."""
    blanked = _DIRECTIVE.sub(lambda found: " " * len(found[0]), text)
    return [(at, character) for at, character in enumerate(blanked) if character.isalnum()]


def _tone(character: str, n_samples: int, voice: str, utterance: Utterance) -> Samples:
    semitones = ord(character) % N_PITCHES + VOICES[voice] + utterance.pitch
    semitones += EMOTIONS[utterance.emotion] * utterance.emotion_intensity
    rate_hz = LOWEST_HZ * 2 ** (semitones / 12)
    times_s = np.arange(n_samples, dtype=np.float64) / SAMPLE_RATE_HZ
    envelope = np.sin(np.pi * np.arange(n_samples) / n_samples)
    tone: Samples = np.zeros(n_samples, dtype=np.float32)
    tone += LEVEL * envelope * np.sin(2 * np.pi * rate_hz * times_s)
    return tone


def _spoilt(samples: Samples, directives: Sequence[str]) -> Samples:
    if "silent" in directives:
        return np.zeros_like(samples)
    if "nan" in directives:
        return np.full_like(samples, np.nan)
    if "clip" in directives:
        return np.ones_like(samples)
    return samples
