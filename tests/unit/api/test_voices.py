"""How voices are found by name."""

import pytest

from api.voices import FRESH_S, VoiceDirectory, default_voice
from shared.errors import NoVoiceReady, UnknownVoice
from shared.presence import KnownVoice
from shared.schemas import Voice


def known(name: str, ready_workers: int = 1, language: str = "zh-CN") -> KnownVoice:
    voice = Voice(name=name, engine="fake", language=language, sample_rate_hz=16000, revision="1")
    return KnownVoice(voice=voice, ready_workers=ready_workers)


class Source:
    """Voices that change, how often they were read, and a clock to turn."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.n_reads = 0
        self.now_s = 100.0

    def read(self) -> list[KnownVoice]:
        self.n_reads += 1
        return [known(name) for name in self.names]

    def directory(self) -> VoiceDirectory:
        return VoiceDirectory(self.read, "a", clock=lambda: self.now_s)


def test_a_known_voice_is_read_once_while_it_is_fresh() -> None:
    source = Source("a")
    directory = source.directory()
    assert [directory.find(None).name, directory.find("a").name] == ["a", "a"]
    assert source.n_reads == 1
    source.now_s += FRESH_S + 0.1
    directory.find("a")
    assert source.n_reads == 2


def test_a_voice_that_has_just_come_is_found() -> None:
    source = Source("a")
    directory = source.directory()
    directory.find("a")
    source.names.append("b")
    assert directory.find("b").name == "b"


def test_an_unknown_voice_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownVoice, match="'c'; known: a, b") as caught:
        Source("b", "a").directory().find("c")
    assert caught.value.details["voices"] == ["a", "b"]


def test_where_the_default_is_not_offered_another_voice_speaks() -> None:
    source = Source("b", "c")
    directory = source.directory()
    assert [directory.find(None).name, directory.find(None).name] == ["b", "b"]
    assert source.n_reads == 1
    source.names.append("a")
    source.now_s += FRESH_S + 0.1
    assert directory.find(None).name == "a"


def test_without_any_voice_the_caller_may_come_back() -> None:
    with pytest.raises(NoVoiceReady):
        Source().directory().find(None)


@pytest.mark.parametrize(
    ("voices", "default"),
    [
        ([known("a", ready_workers=0), known("b")], "a"),
        ([known("b", ready_workers=0), known("c")], "c"),
        ([known("b", language="en-GB"), known("c", language="zh-CN")], "c"),
        ([known("b", ready_workers=0)], "b"),
        ([], None),
    ],
    ids=["the wanted one", "a ready one", "a Chinese one", "any", "none"],
)
def test_the_default_voice_is(voices: list[KnownVoice], default: str | None) -> None:
    assert default_voice(voices, "a") == default
