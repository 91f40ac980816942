"""The voices callers may name, remembered for a moment so that a submit need not ask Redis."""

import time
from collections.abc import Callable, Iterable

from shared.errors import NoVoiceReady, UnknownVoice
from shared.presence import KnownVoice
from shared.schemas import Voice

FRESH_S = 2.0


def default_voice(known: Iterable[KnownVoice], wanted: str) -> str | None:
    """The voice of a job that names none: `wanted`, else one that can speak, Chinese first.

    None where no voice is known. `wanted` stays the one while it has no worker for a moment.
    """
    names = {one.voice.name: one for one in known}
    if wanted in names or not names:
        return wanted if names else None

    def rank(name: str) -> tuple[bool, bool, str]:
        one = names[name]
        return one.ready_workers == 0, not one.voice.language.startswith("zh"), name

    return min(names, key=rank)


class VoiceDirectory:
    """Finds voices by name; a name not remembered is looked up before it is called unknown."""

    def __init__(
        self,
        read: Callable[[], list[KnownVoice]],
        default: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._wanted = default
        self._clock = clock
        self._known: dict[str, Voice] = {}
        self._default: str | None = None
        self._read_at = float("-inf")

    def refresh(self) -> None:
        """Read the voices anew."""
        known = self._read()
        self._known = {one.voice.name: one.voice for one in known}
        self._default = default_voice(known, self._wanted)
        self._read_at = self._clock()

    def find(self, name: str | None) -> Voice:
        """The voice called `name`, or the default one for None.

        Raises `UnknownVoice` with the known names, `NoVoiceReady` when there is none at all.
        """
        if self._clock() - self._read_at > FRESH_S or (name or self._default) not in self._known:
            self.refresh()
        wanted = self._default if name is None else name
        if not self._known or wanted is None:
            raise NoVoiceReady(
                "No worker has offered a voice yet; start one with ttsfarm-worker run.",
                retry_after_s=5,
            )
        if wanted not in self._known:
            known = sorted(self._known)
            raise UnknownVoice(
                f"No worker offers the voice {wanted[:80]!r}; known: {', '.join(known)}.",
                voices=known,
            )
        return self._known[wanted]
