import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.split import BLOCK_CHARS, blocks, sentences


def split(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("苹果3.5元。走了！", ["苹果3.5元。", "走了！"]),
        ("她喊：“快跑！”他没听见。", ["她喊：“快跑！”", "他没听见。"]),
        ("“是吗？”他问。", ["“是吗？”他问。"]),
        ("请看www.example.org。再会", ["请看www.example.org。", "再会"]),
        ("嗯……好吧。", ["嗯……好吧。"]),
        ("v2.0.1上线了. 请更新.", ["v2.0.1上线了.", " 请更新."]),
        ("Mr. Wang走了。", ["Mr. Wang走了。"]),
        ("J. Smith和U.S.A.的人。", ["J. Smith和U.S.A.的人。"]),
        ("上行\n下行", ["上行\n", "下行"]),
        ("什么？！真的", ["什么？！", "真的"]),
        ("好；行", ["好；行"]),
        ("一二三四五六七八九十；下一句", ["一二三四五六七八九十；", "下一句"]),
        ("（他说。后来）又走了。", ["（他说。后来）又走了。"]),
        ("没关的“引号。也不怕。", ["没关的“引号。", "也不怕。"]),
        ("1. 第一条\n2. 第二条", ["1. 第一条\n", "2. 第二条"]),
        ("买水果, etc. 然后走", ["买水果, etc. 然后走"]),
        ("5!=120。对", ["5!=120。", "对"]),
        ("为了规范管理和服务……，制定本法。", ["为了规范管理和服务……，制定本法。"]),
        ("1+2+…+100=5050", ["1+2+…+100=5050"]),
        ("《让子弹飞！》都好看", ["《让子弹飞！》都好看"]),
        ("他看了《飞！》。后来走了", ["他看了《飞！》。", "后来走了"]),
        ("《没关。也不怕。", ["《没关。", "也不怕。"]),
        ("Yahoo!是一家公司。Hello!你好", ["Yahoo!是一家公司。", "Hello!", "你好"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


MARKS = "。！？；…\n.!?;“”‘’（）《》\"' ,，、a1中A"


@given(st.text(MARKS, max_size=200))
def test_sentences_cover_the_text_in_order(text: str) -> None:
    assert "".join(split(text)) == text


@given(st.lists(st.text(MARKS, max_size=3 * BLOCK_CHARS), max_size=3))
def test_blocks_give_back_the_stream_and_stay_small(chunks: list[str]) -> None:
    found = list(blocks(chunks))
    assert "".join(found) == "".join(chunks)
    assert all(0 < len(block) <= 2 * BLOCK_CHARS for block in found)


@pytest.mark.parametrize("unit", ["。", "1", "(", "a.", "“", "”a", '"', "www.a", "…中"])
def test_a_million_characters_split_in_linear_time(unit: str) -> None:
    # About 1 s; in quadratic time it outlasts the time limit of a test.
    text = unit * (1_000_000 // len(unit))
    count = sum(1 for block in blocks([text]) for _ in sentences(block))
    assert count > 0
