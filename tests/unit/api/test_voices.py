"""How voices are found by name."""

from itertools import islice, repeat

import pytest

from api.voices import FRESH_S, Offer, VoiceDirectory, default_voice, even_draws, pick
from shared.errors import NoVoiceReady, UnknownVoice
from shared.presence import KnownVoice
from shared.schemas import Voice


def known(name: str, ready_workers: int = 1, language: str = "zh-CN") -> KnownVoice:
    voice = Voice(name=name, engine="fake", language=language, sample_rate_hz=16000, revision="1")
    return KnownVoice(voice=voice, ready_workers=ready_workers)


def offer(*voices: KnownVoice, **aliases: dict[str, int]) -> Offer:
    return Offer(voices={one.voice.name: one for one in voices}, aliases=aliases)


class Source:
    """Voices that change, how often they were read, and a clock to turn."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.n_reads = 0
        self.now_s = 100.0

    def read(self) -> Offer:
        self.n_reads += 1
        return offer(*map(known, self.names))

    def directory(self) -> VoiceDirectory:
        return VoiceDirectory(self.read, "a", clock=lambda: self.now_s)


def test_a_known_voice_is_read_once_while_it_is_fresh() -> None:
    source = Source("a")
    directory = source.directory()
    assert [directory.find(None).voice.name, directory.find("a").voice.name] == ["a", "a"]
    assert source.n_reads == 1
    source.now_s += FRESH_S + 0.1
    directory.find("a")
    assert source.n_reads == 2


def test_a_voice_that_has_just_come_is_found() -> None:
    source = Source("a")
    directory = source.directory()
    directory.find("a")
    source.names.append("b")
    assert directory.find("b").voice.name == "b"


def test_an_unknown_voice_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownVoice, match="'c'; known: a, b") as caught:
        Source("b", "a").directory().find("c")
    assert caught.value.details["voices"] == ["a", "b"]


def test_where_the_default_is_not_offered_another_voice_speaks() -> None:
    source = Source("b", "c")
    directory = source.directory()
    assert [directory.find(None).voice.name, directory.find(None).voice.name] == ["b", "b"]
    assert source.n_reads == 1
    source.names.append("a")
    source.now_s += FRESH_S + 0.1
    assert directory.find(None).voice.name == "a"


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
    assert default_voice(offer(*voices), "a") == default


@pytest.mark.parametrize(
    ("draw", "picked"), [(0.0, "a"), (0.89, "a"), (0.9, "a@2"), (0.99999, "a@2")]
)
def test_an_alias_shares_jobs_by_weight(draw: float, picked: str) -> None:
    there = offer(known("a"), known("a@2"), a={"a": 90, "a@2": 10})
    found = VoiceDirectory(lambda: there, "a", draws=repeat(draw)).find(None)
    assert (found.asked, found.voice.name) == ("a", picked)


def test_a_voice_without_a_worker_gets_no_part_while_another_has_one() -> None:
    there = offer(known("a", ready_workers=0), known("b"), x={"a": 99, "b": 1, "gone": 900})
    assert [one.voice.name for one, _ in there.targets("x")] == ["b"]
    away = offer(known("a", ready_workers=0), x={"a": 99, "gone": 900})
    assert [one.voice.name for one, _ in away.targets("x")] == ["a"]


@pytest.mark.parametrize("start", [0.0, 0.31, 0.99])
def test_a_tenth_of_the_jobs_is_a_tenth_of_any_twenty(start: float) -> None:
    draws = list(islice(even_draws(start), 500))
    for first in range(480):
        assert 1 <= sum(draw >= 0.9 for draw in draws[first : first + 20]) <= 3


def test_the_last_voice_takes_what_rounding_leaves() -> None:
    assert pick([(known("a"), 1), (known("b"), 2)], 1.0).name == "b"
