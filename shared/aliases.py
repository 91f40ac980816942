"""AliasStore: names that stand for other voices by weight, to release one gradually."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from shared.connection import Scripts, state_store

Weights = Mapping[str, int]


class AliasStore:
    """Aliases as the whole farm knows them; each is written and read in one command."""

    def __init__(self, scripts: Scripts) -> None:
        self._client = scripts.client
        self._key = scripts.key("aliases")

    def all(self) -> dict[str, Weights]:
        """Every alias with its voices and their weights, above 0."""
        with state_store():
            found = self._client.hgetall(self._key)
        return {name: MappingProxyType(json.loads(text)) for name, text in sorted(found.items())}

    def set(self, name: str, weights: Weights) -> None:
        """Make `name` stand for voices from now on; jobs already submitted stay where they are."""
        with state_store():
            self._client.hset(self._key, name, json.dumps(dict(weights)))

    def remove(self, name: str) -> bool:
        """Take an alias away; False when there was none."""
        with state_store():
            return bool(self._client.hdel(self._key, name))
