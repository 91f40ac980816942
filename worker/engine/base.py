"""The Engine protocol: what every speech engine offers the worker.

An engine belongs to one process and one thread at a time; the worker loads it after fork and
speaks a warm-up sentence before it says it is ready.
"""

from collections.abc import Sequence
from typing import Protocol

from shared.schemas import Voice
from worker.types import Rendering, Utterance


class Engine(Protocol):
    """A way to turn utterances into waves."""

    @property
    def name(self) -> str:
        """The engine's name as users write it, such as `espeak`."""

    @property
    def takes_symbols(self) -> bool:
        """Whether `Utterance.symbols` is needed; otherwise `text` alone is read."""

    @property
    def batch_size(self) -> int:
        """How many utterances at once serve this engine best; 1 where batches gain nothing."""

    def voices(self) -> Sequence[Voice]:
        """Every voice this engine can offer here, without loading any."""

    def load(self, voice: str) -> None:
        """Make `voice` ready to render.

        Raises `EngineUnavailable` when its files or libraries are missing or unfit, saying
        which and how to mend it.
        """

    def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
        """One rendering for each utterance, in order; a batch gives what each alone gives.

        Raises `SynthesisError` for an utterance the model cannot speak, `RequestError` for one
        that asks for what the voice does not have.
        """
