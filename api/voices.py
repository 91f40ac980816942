"""The voices callers may name, remembered for a moment so that a submit need not ask Redis."""

import time
from collections.abc import Callable

from shared.errors import NoVoiceReady, UnknownVoice
from shared.presence import KnownVoice
from shared.schemas import Voice

FRESH_S = 2.0


class VoiceDirectory:
    """Finds voices by name; a name not remembered is looked up before it is called unknown."""

    def __init__(
        self,
        read: Callable[[], list[KnownVoice]],
        default: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._default = default
        self._clock = clock
        self._known: dict[str, Voice] = {}
        self._read_at = float("-inf")

    def _refresh(self) -> None:
        self._known = {known.voice.name: known.voice for known in self._read()}
        self._read_at = self._clock()

    def find(self, name: str | None) -> Voice:
        """The voice called `name`, or the default one for None.

        Raises `UnknownVoice` with the known names, `NoVoiceReady` when there is none at all.
        """
        wanted = self._default if name is None else name
        if self._clock() - self._read_at > FRESH_S or wanted not in self._known:
            self._refresh()
        if not self._known:
            raise NoVoiceReady(
                "No worker has offered a voice yet; start one with ttsfarm-worker run.",
                retry_after_s=5,
            )
        if wanted not in self._known:
            raise UnknownVoice(self._explain(name, wanted), voices=sorted(self._known))
        return self._known[wanted]

    def _explain(self, name: str | None, wanted: str) -> str:
        known = ", ".join(sorted(self._known))
        if name is None:
            return f"No voice was named and the default, {wanted}, is not offered; known: {known}."
        return f"No worker offers the voice {wanted[:80]!r}; known: {known}."
