"""An engine whose voices carry a suffix, so that two revisions of a voice are two voices."""

from collections.abc import Sequence
from dataclasses import replace

from shared.schemas import Voice
from worker.engine.base import Engine
from worker.types import Rendering, Utterance


class RenamedEngine:
    """`engine` under other names: each voice's own with `suffix` behind it."""

    def __init__(self, engine: Engine, suffix: str) -> None:
        self._engine = engine
        self._suffix = suffix

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def takes_symbols(self) -> bool:
        return self._engine.takes_symbols

    @property
    def batch_size(self) -> int:
        return self._engine.batch_size

    def voices(self) -> Sequence[Voice]:
        return [replace(one, name=one.name + self._suffix) for one in self._engine.voices()]

    def load(self, voice: str) -> None:
        self._engine.load(voice.removesuffix(self._suffix))

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        return self._engine.render(voice.removesuffix(self._suffix), utterances)
