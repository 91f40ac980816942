import html
import io
import json
import re
from itertools import pairwise

import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.captions import (
    HEAD,
    LINE_WIDTH,
    LONGEST_MS,
    SHORTEST_MS,
    TAIL,
    Cue,
    Sentence,
    Word,
    cues,
    read_sentences,
    rendered,
)

SOME = settings(deadline=None, max_examples=25)
LINK = "https://example.org/" + "a" * 70 + " "
CHINESE = ("天", "气", "好，", "了。", "“你", "吗？”\n\n", "\n 行", "字" * 50)
TEXTS = st.sampled_from([*CHINESE, "Hello ", "it's ", "è ", "2026 ", "AT&T", "<b>", "-->", LINK])


@st.composite
def books(draw: st.DrawFn) -> tuple[list[Sentence], int]:
    """Some sentences with pauses between, and the audio's length."""
    now_ms, sentences = 0, []
    for _ in range(draw(st.integers(1, 6))):
        now_ms += draw(st.integers(0, 3_000))
        words = []
        for text in draw(st.lists(TEXTS, min_size=1, max_size=60)):
            end_ms = now_ms + draw(st.integers(0, 900))
            words.append(Word(start_ms=now_ms, end_ms=end_ms, text=text))
            now_ms = end_ms
        sentences.append(Sentence(words=tuple(words)))
    return sentences, now_ms + draw(st.integers(0, 2_000))


def file_of(sentences: list[Sentence]) -> bytes:
    rows = (json.dumps(one.view(), ensure_ascii=False, separators=(",", ":")) for one in sentences)
    return (HEAD + ",\n".join(rows) + TAIL).encode()


def spread(text: str, each_ms: int = 200, start_ms: int = 0) -> Sentence:
    """A sentence of single characters that take the same time each."""
    return Sentence(
        words=tuple(
            Word(start_ms=start_ms + i * each_ms, end_ms=start_ms + (i + 1) * each_ms, text=char)
            for i, char in enumerate(text)
        )
    )


def lines(cue: Cue) -> list[str]:
    return ["".join(word.text for word in line) for line in cue.lines]


def bare(text: str) -> str:
    return "".join(text.split())


def width(text: str) -> float:
    return sum(1 if ord(char) > 0x2000 else 0.5 for char in text)


def in_format(book: tuple[list[Sentence], int], name: str, *, words: bool = False) -> str:
    sentences, duration_ms = book
    return b"".join(rendered([file_of(sentences)], name, duration_ms, words=words)).decode()


@SOME
@given(books(), st.integers(1, 500))
def test_a_file_is_read_in_pieces_of_any_size(book: tuple[list[Sentence], int], size: int) -> None:
    data = file_of(book[0])
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert [*read_sentences(chunks)] == book[0]
    assert [one["text"] for one in json.loads(data)["sentences"]] == [
        "".join(word.text for word in sentence.words) for sentence in book[0]
    ]


@SOME
@given(books())
def test_cues_follow_one_another_inside_the_audio_and_lose_nothing(
    book: tuple[list[Sentence], int],
) -> None:
    sentences, duration_ms = book
    found = [*cues(sentences, duration_ms)]
    edges = [time for cue in found for time in (cue.start_ms, cue.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= duration_ms
    source = "".join(word.text for sentence in sentences for word in sentence.words)
    assert bare("".join("".join(lines(cue)) for cue in found)) == bare(source)


@SOME
@given(books())
def test_cues_fit_the_screen_and_can_be_read(book: tuple[list[Sentence], int]) -> None:
    sentences, duration_ms = book
    found = [*cues(sentences, duration_ms)]
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < width(" ".join(line.split())) <= LINE_WIDTH for line in lines(cue))
        assert cue.end_ms - cue.start_ms <= LONGEST_MS
    limits = [cue.start_ms for cue in found[1:]] + [duration_ms]
    for cue, limit_ms in zip(found, limits, strict=True):
        assert cue.end_ms - cue.start_ms >= SHORTEST_MS or cue.end_ms == limit_ms


@SOME
@given(books())
def test_a_webvtt_parser_reads_the_same_cues(book: tuple[list[Sentence], int]) -> None:
    parsed = webvtt.from_string(in_format(book, "vtt"))
    found = [*cues(*book)]
    assert [bare(html.unescape(one.text)) for one in parsed] == [
        bare("".join(lines(cue))) for cue in found
    ]
    assert [
        (one.start_time.in_milliseconds(), one.end_time.in_milliseconds()) for one in parsed
    ] == [(cue.start_ms, cue.end_ms) for cue in found]


@SOME
@given(books())
def test_a_subrip_parser_reads_the_same_cues(book: tuple[list[Sentence], int]) -> None:
    parsed = webvtt.from_buffer(io.StringIO(in_format(book, "srt")), format="srt")
    found = [*cues(*book)]
    assert [
        (one.start_time.in_milliseconds(), one.end_time.in_milliseconds()) for one in parsed
    ] == [(cue.start_ms, cue.end_ms) for cue in found]
    wanted = [bare("".join(lines(cue))).replace("-->", "→") for cue in found]
    assert [bare(one.text) for one in parsed] == [re.sub("</?b>", "", text) for text in wanted]


@SOME
@given(books(), st.booleans())
def test_lyrics_have_a_line_a_cue_in_order(book: tuple[list[Sentence], int], words: bool) -> None:
    found = [*cues(*book)]
    rows = [
        re.fullmatch(r"\[(\d+):([0-5]\d)\.(\d\d)\](.*)", line)
        for line in in_format(book, "lrc", words=words).splitlines()
    ]
    times = [int(m[1]) * 6000 + int(m[2]) * 100 + int(m[3]) for m in rows if m]
    assert len(times) == len(rows)
    assert times == sorted(times)
    texts = [re.sub(r"<\d+:\d\d\.\d\d>", "", m[4]) for m in rows if m and m[4]]
    assert [*map(bare, texts)] == [bare("".join(lines(cue))) for cue in found]


@SOME
@given(books())
def test_times_of_words_in_webvtt_grow_inside_their_cue(book: tuple[list[Sentence], int]) -> None:
    blocks = in_format(book, "vtt", words=True).split("\n\n")[1:]
    for block, cue in zip(blocks, cues(*book), strict=True):
        marks = re.findall(r"<(\d+):(\d\d):(\d\d)\.(\d{3})>", block)
        times = [((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms) for h, m, s, ms in marks]
        edges = [cue.start_ms, *times, cue.end_ms]
        assert all(earlier < later for earlier, later in pairwise(edges)) or not times


def test_a_long_sentence_is_cut_at_its_marks() -> None:
    text = "今天上午九点，国家统计局公布了全年的数据，经济总体平稳，消费持续回升，就业基本稳定。"
    found = [*map(lines, cues([spread(text, 150)], 10_000))]
    assert found == [
        ["今天上午九点，", "国家统计局公布了全年的数据，"],
        ["经济总体平稳，消费持续回升，", "就业基本稳定。"],
    ]


def test_short_sentences_share_a_screen_where_one_alone_could_not_be_read() -> None:
    both = [spread("好。"), spread("走吧。", start_ms=700)]
    assert [*map(lines, cues(both, 5_000))] == [["好。走吧。"]]
    apart = [spread("好。"), spread("走吧。", start_ms=1_500)]
    (first, second) = cues(apart, 5_000)
    assert (first.start_ms, first.end_ms) == (0, SHORTEST_MS)
    assert (second.start_ms, second.end_ms) == (1_500, 2_500)


def test_the_formats_look_as_their_readers_expect() -> None:
    book = [spread("你好，A&B。", 300)], 3_000
    assert in_format(book, "vtt") == ("WEBVTT\n\n00:00:00.000 --> 00:00:02.100\n你好，A&amp;B。\n")
    assert in_format(book, "srt") == "1\n00:00:00,000 --> 00:00:02,100\n你好，A&B。\n\n"
    assert in_format(book, "lrc") == "[00:00.00]你好，A&B。\n[00:02.10]\n"
    assert "你<00:00:00.300>好" in in_format(book, "vtt", words=True)
    assert "<00:00.00>你<00:00.30>好" in in_format(book, "lrc", words=True)


@pytest.mark.parametrize("name", ["srt", "vtt", "lrc"])
def test_captions_are_read_while_they_are_sent(name: str) -> None:
    n_read = 0

    def chunks() -> object:
        nonlocal n_read
        for line in file_of([spread("天气很好。", start_ms=i * 2_000) for i in range(500)]).split(
            b"\n"
        ):
            n_read += 1
            yield line + b"\n"

    stream = rendered(chunks(), name, 1_000_000)  # type: ignore[arg-type]  # an iterator of bytes
    for _ in range(3):
        next(stream)
    assert n_read < 10


def test_hours_are_counted_on() -> None:
    book = [spread("好。", start_ms=101 * 3_600_000)], 102 * 3_600_000
    assert "101:00:00.000 --> 101:00:01.000" in in_format(book, "vtt")
    assert in_format(book, "lrc").startswith("[6060:00.00]")
