"""The voices callers may name, remembered for a moment so that a submit need not ask Redis.

A name may be an alias, which stands for one of its voices, drawn anew for each job by weight.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from shared.aliases import AliasStore, Weights
from shared.errors import NoVoiceReady, UnknownVoice
from shared.presence import KnownVoice, PresenceStore
from shared.schemas import Voice

FRESH_S = 2.0
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What callers may name: the voices by name, and the aliases some voice of which is known."""

    voices: Mapping[str, KnownVoice]
    aliases: Mapping[str, Weights]

    @property
    def names(self) -> list[str]:
        return sorted({*self.voices, *self.aliases})

    def targets(self, name: str) -> list[tuple[KnownVoice, int]]:
        """The voices a name stands for with their weights; ready ones alone where there are any."""
        weights = self.aliases.get(name) or {name: 1}
        known = [(self.voices[one], weights[one]) for one in weights if one in self.voices]
        return [one for one in known if one[0].ready_workers] or known


@dataclass(frozen=True, kw_only=True)
class Found:
    """The voice a job gets, and the name it was asked for by."""

    voice: Voice
    asked: str


def read_offer(presence: PresenceStore, aliases: AliasStore) -> Offer:
    """What the farm offers at this moment."""
    voices = {one.voice.name: one for one in presence.voices()}
    known = {name: weights for name, weights in aliases.all().items() if voices.keys() & weights}
    return Offer(voices=voices, aliases=known)


def default_voice(offer: Offer, wanted: str) -> str | None:
    """The voice of a job that names none: `wanted`, else one that can speak, Chinese first.

    None where no voice is known. `wanted` stays the one while it has no worker for a moment.
    """
    if wanted in offer.names or not offer.voices:
        return wanted if offer.voices else None

    def rank(name: str) -> tuple[bool, bool, str]:
        one = offer.voices[name]
        return one.ready_workers == 0, not one.voice.language.startswith("zh"), name

    return min(offer.voices, key=rank)


def pick(targets: Iterable[tuple[KnownVoice, int]], draw: float) -> Voice:
    """The voice at `draw`, in [0, 1), of the weights laid end to end."""
    laid = list(targets)
    left = draw * sum(weight for _, weight in laid)
    for known, weight in laid:
        left -= weight
        if left < 0:
            return known.voice
    return laid[-1][0].voice


def even_draws(start: float) -> Iterator[float]:
    """Numbers in [0, 1) without end; any twenty of them hit a tenth of it one to three times."""
    at = start
    while True:
        yield at
        at = (at + GOLDEN) % 1.0


class VoiceDirectory:
    """Finds voices by name; a name not remembered is looked up before it is called unknown.

    `offer` is what was read last, `default` the voice of a job that names none.
    """

    def __init__(
        self,
        read: Callable[[], Offer],
        default: str,
        clock: Callable[[], float] = time.monotonic,
        draws: Iterator[float] | None = None,
    ) -> None:
        self._read = read
        self._wanted = default
        self._clock = clock
        self._draws = draws or even_draws(random.random())  # noqa: S311  # keeps no secret
        self._drawing = threading.Lock()
        self.offer = Offer(voices={}, aliases={})
        self.default: str | None = None
        self._read_at = float("-inf")

    def refresh(self) -> None:
        """Read the voices anew."""
        self.offer = self._read()
        self.default = default_voice(self.offer, self._wanted)
        self._read_at = self._clock()

    def find(self, name: str | None) -> Found:
        """A voice for `name`, or for the default one for None.

        Raises `UnknownVoice` with the known names, `NoVoiceReady` when there is none at all.
        """
        stale = self._clock() - self._read_at > FRESH_S
        if stale or (name or self.default) not in self.offer.names:
            self.refresh()
        asked = self.default if name is None else name
        if not self.offer.voices or asked is None:
            raise NoVoiceReady(
                "No worker has offered a voice yet; start one with ttsfarm-worker run.",
                retry_after_s=5,
            )
        if asked not in self.offer.names:
            known = self.offer.names
            raise UnknownVoice(
                f"No worker offers the voice {asked[:80]!r}; known: {', '.join(known)}.",
                voices=known,
            )
        with self._drawing:
            draw = next(self._draws)
        return Found(voice=pick(self.offer.targets(asked), draw), asked=asked)
