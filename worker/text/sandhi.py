"""Tone sandhi: the surface tone of every syllable, from readings, words and prosodic words.

In the order that matters: neutral tones, 一, 不, third tones, erhua. All functions change the
list of readings they are given, one entry for each character of the spoken text.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from worker.text import tables
from worker.text.characters import is_hanzi
from worker.text.prosody import Group
from worker.text.words import Segmenter, Word, WordKind

_DIGITS: Final = frozenset("零〇一二三四五六七八九幺")
_COUNT_AFTER: Final = frozenset("十百千万亿")
# After these 一 names a place in an order: 第一, 初一, 星期一.
_ORDER_BEFORE: Final = (
    "第",
    "初",
    "星期",
    "周",
    "礼拜",
    "十",
    "其",
    "零",
    "唯",
    "统",
    "专",
    "划",
    "归",
)
# Words in which 一 keeps its tone.
_FIXED_ONE: Final = frozenset(
    ["独一无二", "数一数二", "说一不二", "举一反三", "闻一知十", "同一性", "同一律", "统一体"]
)
# Verbs of one syllable that are said twice: 看看书.
_TWICE: Final = frozenset("看试听聊走坐尝查等吃玩洗跑找问写读学练")
# Before these 不 is no complement: 殊不知, 毫不犹豫.
_ADVERBS: Final = frozenset("毫绝并决从永再都也还就要若更且既岂莫无殊好必又才")
# What somebody is one of taller or bigger by: 高一头.
_MORE_BY: Final = frozenset("头截等层倍个点些筹米号圈岁码格档")
_NAMES: Final = ("nr", "nrt", "nrfg", "nz")
_ORDER_AFTER: Final = (
    "月",
    "号",
    "楼",
    "班",
    "级",
    "等奖",
    "流",
    "中",
    "审",
    "线",
    "环",
    "年级",
    "区",
    "院",
    "季度",
    "期工",
    "期项",
    "期建",
    "路公",
    "路车",
)


class Sandhi:
    """The rules with their lists; no state between calls."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._directions = tables.word_set("g2p.tsv", "direction_after_verb")
        self._light = self._directions | {"里", "上", "过"}
        self._kin = frozenset(tables.words("g2p.tsv", "kin"))
        self._lone_er = tables.word_set("g2p.tsv", "erhua_alone")
        self._full_er = frozenset(tables.words("g2p.tsv", "erhua_no"))
        self._child = tables.word_set("g2p.tsv", "erhua_child")
        self._erhua = frozenset(tables.words("g2p.tsv", "erhua_two"))

    def apply(
        self, spoken: str, words: Sequence[Word], groups: Sequence[Group], said: list[str]
    ) -> None:
        """Every rule in order; `groups` are the prosodic words with the breaks after them."""
        for i, word in enumerate(words):
            if word.kind is WordKind.HANZI:
                self._neutral(words, i, said)
        if "一" in spoken or "不" in spoken:
            for word in words:
                if word.kind is WordKind.HANZI and ("一" in word.text or "不" in word.text):
                    for at in range(word.start, word.end):
                        self._single(spoken, word, at, said)
        self.third_tones(groups, said)
        if "儿" in spoken:
            for i, word in enumerate(words):
                if word.kind is WordKind.HANZI and "儿" in word.text:
                    self._merge_er(words, i, said)

    def _neutral(self, words: Sequence[Word], i: int, said: list[str]) -> None:
        word = words[i]
        text = word.text
        if len(text) == 1:
            if text in _TWICE and i + 1 < len(words):
                self._said_twice(word, words[i + 1], said)
            if text in self._light and i and words[i - 1].kind is WordKind.HANZI:
                self._neutral_after(words[i - 1], word, said)
            return
        last = word.end - 1
        if text[-1] == "里" and word.tag in ("s", "f") and not self._segmenter.has_word(text):
            # 锅里: the segmenter's own guess, a noun and where.
            said[last] = neutral(said[last])
        if text[-1] == "里" and said[last] == "li5":
            _raise_third(said, last - 1)
        elif len(text) == 2 and text[0] == text[1] and self._is_doubled(word):
            said[last] = neutral(said[last])
            if word.tag[:1] == "v":
                _raise_third(said, last - 1)
        elif len(text) > 2 and word.tag[:1] == "v" and text[-2:] in self._directions:
            said[last] = neutral(said[last])
        elif text in self._light and i and words[i - 1].kind is WordKind.HANZI:
            self._neutral_after(words[i - 1], word, said)

    def _said_twice(self, word: Word, following: Word, said: list[str]) -> None:
        """看 and 看书: the second of the two is neutral."""
        again = following.text[0] == word.text and len(following.text) > 1
        if (
            again
            and word.tag[:1] == "v"
            and following.tag[:1] == "v"
            and word.end == following.start
        ):
            said[following.start] = neutral(said[following.start])

    def _neutral_after(self, before: Word, word: Word, said: list[str]) -> None:
        """Small words that lose their tone behind another: 起来, 里, 上, 过."""
        text, last = word.text, word.end - 1
        if before.tag[:1] == "v" and text in self._directions:
            said[last] = neutral(said[last])
        elif text in ("里", "上") and before.tag[:1] in ("n", "s") and before.tag not in _NAMES:
            if text == "里":
                _raise_third(said, last - 1)
            said[last] = neutral(said[last])
        elif text == "过" and before.tag[:1] == "v" and word.tag == "ug":
            said[last] = neutral(said[last])

    def _is_doubled(self, word: Word) -> bool:
        return word.text[0] in self._kin or (
            word.tag[:1] == "v" and word.text not in ("等等", "处处")
        )

    def _single(self, spoken: str, word: Word, at: int, said: list[str]) -> None:
        if spoken[at] == "一" and said[at] == "yi1":
            said[at] = _yi(spoken, word, at, said)
        elif spoken[at] == "不" and said[at][:2] == "bu":
            said[at] = _bu(spoken, word, at, said)

    def third_tones(self, groups: Sequence[Group], said: list[str]) -> None:
        """Third before third becomes second: inside words, inside prosodic words, then between a
        prosodic word of one syllable and its neighbour, never across a phrase break."""
        for group in groups:
            for word in group.words:
                if len(word.text) > 1 and word.kind is WordKind.HANZI:
                    self._inner_thirds(word, said)
        for k, group in enumerate(groups):
            for left, right in pairwise(group.words):
                if len(left.text) == 1 or len(right.text) == 1:
                    _outer_third(left, right, said)
            following = groups[k + 1] if k + 1 < len(groups) else None
            if following and group.level == 1 and (_one(group) or _one(following)):
                _outer_third(group.words[-1], following.words[0], said)

    def _inner_thirds(self, word: Word, said: list[str]) -> None:
        """Runs of third tones in a word: by its structure for three syllables, else in pairs."""
        if len(word.text) > 3:
            _pairs(word, said)
            return
        if not said[word.start + 1].endswith("3"):
            # No two in a row.
            return
        thirds = [said[at].endswith("3") for at in range(word.start, word.end)]
        at = 0
        while at < len(thirds):
            run = at
            while run < len(thirds) and thirds[run]:
                run += 1
            for place in self._raised(word.text[at:run]):
                reading = said[word.start + at + place]
                said[word.start + at + place] = reading[:-1] + "2"
            at = max(run, at + 1)

    def _raised(self, run: str) -> list[int]:
        """Which of up to three third tones in a row rise to the second."""
        if len(run) < 3:
            return [0] if len(run) == 2 else []
        head, tail = self._segmenter.has_word(run[:2]), self._segmenter.has_word(run[1:])
        return [1] if tail and not head else [0, 1]

    def _merge_er(self, words: Sequence[Word], i: int, said: list[str]) -> None:
        """儿 becomes the end of the syllable before it where the word is an erhua word."""
        word = words[i]
        for at in range(word.start, word.end):
            place = at - word.start
            if word.text[place] != "儿" or not said[at].startswith("er"):
                continue
            base, text = self._before_er(words, i, place)
            # 宝贝儿子 holds a 儿子.
            if (
                not base
                or word.text[place + 1 : place + 2] == "子"
                or not self._merges(text, word, place)
            ):
                continue
            before = said[at - 1]
            if before and not before[:-1].endswith("r"):
                said[at - 1] = f"{before[:-1]}r{before[-1]}"
                said[at] = ""

    def _before_er(self, words: Sequence[Word], i: int, place: int) -> tuple[str, str]:
        """The character before 儿, and the two or three characters that decide."""
        word = words[i]
        if place:
            return word.text[place - 1], word.text[: place + 1]
        if i and words[i - 1].kind is WordKind.HANZI and len(word.text) == 1:
            return words[i - 1].text[-1], words[i - 1].text + "儿"
        return "", ""

    def _merges(self, text: str, word: Word, place: int) -> bool:
        if word.tag.startswith(("nr", "ns")) and len(word.text) > 1 and text not in self._erhua:
            return False
        if (
            text in self._lone_er
            or text in self._full_er
            or text[-2:] in self._full_er
            or word.text in self._full_er
        ):
            return False
        if text in self._erhua or text[-2:] in self._erhua:
            return place + 1 == len(word.text) or text in self._erhua
        # Any other word of the dictionary that ends in 儿 is an erhua word, as is a longer word
        # with a lone 儿 behind it: 公园儿, but 早产儿 is a child.
        known = place > 0 or self._segmenter.has_word(text)
        return place + 1 == len(word.text) and (known or self._is_suffix(text))

    def _is_suffix(self, text: str) -> bool:
        return len(text) > 2 and text[-2] not in self._child and self._segmenter.has_word(text[:-1])


def _raise_third(said: list[str], at: int) -> None:
    """A third tone before a neutral one that was a third itself rises to the second."""
    if said[at].endswith("3"):
        said[at] = said[at][:-1] + "2"


def _pairs(word: Word, said: list[str]) -> None:
    """Longer words are said in pairs from the left, an odd last syllable with the pair before."""
    firsts = list(range(word.start, word.end - 1, 2))
    if len(word.text) % 2:
        firsts.append(word.end - 2)
    for at in firsts:
        if said[at].endswith("3") and said[at + 1].endswith("3"):
            said[at] = said[at][:-1] + "2"


def neutral(reading: str) -> str:
    """The reading in the neutral tone."""
    return reading[:-1] + "5" if reading else reading


def _one(group: Group) -> bool:
    return len(group.words) == 1 and len(group.words[0].text) == 1


def _outer_third(left: Word, right: Word, said: list[str]) -> None:
    """Between two words: the left one's last syllable rises before a third tone still spoken so."""
    if left.kind is not WordKind.HANZI or right.kind is not WordKind.HANZI:
        return
    if left.end != right.start:
        return
    if said[left.end - 1].endswith("3") and said[right.start].endswith("3"):
        said[left.end - 1] = said[left.end - 1][:-1] + "2"


def _tone_after(spoken: str, at: int, said: list[str]) -> str:
    """The tone of the next syllable, 4 for a neutral one that comes from it; "" at an end."""
    if at + 1 >= len(said) or not is_hanzi(spoken[at + 1]) or not said[at + 1]:
        return ""
    if said[at + 1] == "ge5":
        return "4"
    return said[at + 1][-1]


def _yi(spoken: str, word: Word, at: int, said: list[str]) -> str:
    before, after = spoken[max(0, at - 2) : at], spoken[at + 1 : at + 3]
    idiom = word.text[::2] == "一一" and word.text[1] not in _COUNT_AFTER
    if word.text in _FIXED_ONE:
        return "yi1"
    if not idiom and _is_digit_or_order(before, after, word, at):
        return "yi1"
    between = before and after and before[-1] == after[0] and after[0] not in _DIGITS
    if between and before[0] != "一":
        # 看一看, but 一步一步.
        return "yi5"
    tone = _tone_after(spoken, at, said)
    if tone == "4":
        return "yi2"
    return "yi4" if tone in ("1", "2", "3", "5") and tone else "yi1"


def _is_digit_or_order(before: str, after: str, word: Word, at: int) -> bool:
    """Whether 一 is a digit of a string, an ordinal or the end of a word such as 统一."""
    if not after or not is_hanzi(after[0]):
        return True
    if (before[-1:] in _DIGITS and before) or before.endswith(_ORDER_BEFORE):
        return True
    if before[-1:] == "点" and before[:1] in (*_DIGITS, "十", "百"):
        return True
    if word.text in tables.word_set("g2p.tsv", "order_words") and at == word.end - 1:
        # 高一学生, but 高一头.
        return word.text not in ("高一", "大一") or after[0] not in _MORE_BY
    if after[0] in _DIGITS and after[0] != "两":
        return True
    if after[0] in "加减乘除比" and after[1:2] in (*_DIGITS, "十", "两", "百"):
        return True
    if after[0] == "十" or (after[0] == "点" and after[1:2] in (*_DIGITS, "两")):
        return True
    if before[-1:] == "月" and after[0] in "日号":
        return True
    return after.startswith(_ORDER_AFTER) and _names_order(before, after)


def _names_order(before: str, after: str) -> bool:
    """一月 and 一楼 name, 这一月 and 每一级 count."""
    if before[-1:] and before[-1:] in "这那每哪某上下同任另有了过更进":
        return False
    return not after.startswith(
        ("中国", "线希望", "线生机", "流的", "班人", "号人", "中午", "区别")
    )


def _bu(spoken: str, word: Word, at: int, said: list[str]) -> str:
    before, after = spoken[at - 1 : at], spoken[at + 1 : at + 2]
    if before and after and before == after and before != "不" and is_hanzi(before):
        return "bu5"
    if after == "了" and word.start == at and before and said[at + 1] == "liao3":
        return "bu5"
    inside = word.start < at < word.end - 1
    if inside and len(word.text) == 3 and word.tag[:1] in "vald" and before not in _ADVERBS:
        return "bu5"
    tone = _tone_after(spoken, at, said)
    return "bu2" if tone == "4" else "bu4"
