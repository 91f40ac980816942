"""Traditional characters to simplified ones, one for one, for look-up and for what is said."""

import re
from typing import Final

from worker.text import tables

# Characters that both scripts use: what they become depends on the word and on the text's script.
_SHARED: Final = frozenset("乾著徵瞭藉夥覆幺阪甯崙彷祇里鍾")
# What they are in words that no simplified text has another way.
_SURE: Final = str.maketrans("乾著瞭", "干着了")
_SURE_CHARS: Final = frozenset("乾著瞭")

# What 著 follows when it is the particle: 看著, 沿著.
_VERBS: Final = frozenset(
    "看听说走站坐躺拿带跟随沿对向朝为接等想笑哭忙穿戴抱背开关睡吃喝活有望睁闭握牵拉推扶靠守陪护照"
    "指拖低抬含流留住存在味本顺迎冒趁当抓举挂放摆写印画数读唱跳飞游追赶逼催盯瞪瞧急怕爱恨藏"
)


class Simplifier:
    """The character table and the words in which a shared character stays as it is."""

    def __init__(self) -> None:
        table = tables.mapping("hant.tsv")
        self._table = {ord(k): v for k, v in table.items()}
        self._traditional = frozenset(k for k in table if k not in _SHARED)
        self._kept = tables.words("hant_kept.tsv", "kept")
        self._sure = re.compile("|".join(tables.words("hant_kept.tsv", "sure")))
        self._writings = re.compile(tables.any_of(w for w in self._kept if "著" in w))
        self._kept_chars = frozenset(c for w in self._kept for c in w if c in table)

    def simplify(self, text: str) -> str:
        """`text` in simplified characters, of the same length."""
        if text.isascii():
            return text
        text = text.replace("甚麼", "什麼")
        if not _SURE_CHARS.isdisjoint(text):
            text = self._sure.sub(lambda found: found.group().translate(_SURE), text)
        if "著" in text:
            text = self._particle(text)
        if self._traditional.isdisjoint(text):
            return text.replace("〇", "零")
        result = list(text.translate(self._table))
        if not self._kept_chars.isdisjoint(text):
            self._restore(text, result)
        return "".join(result).replace("〇", "零")

    def _particle(self, text: str) -> str:
        """著 is 着 in traditional text wherever no word of its own holds it: 看著."""
        kept = {
            found.start() + found.group().index("著") for found in self._writings.finditer(text)
        }
        # Text that has no other traditional character means the particle only behind a verb.
        plain = self._traditional.isdisjoint(text)
        return "".join(
            "着" if c == "著" and i not in kept and (not plain or text[i - 1 : i] in _VERBS) else c
            for i, c in enumerate(text)
        )

    def _restore(self, text: str, result: list[str]) -> None:
        for word in self._kept:
            at = text.find(word)
            while at >= 0:
                for i, char in enumerate(word):
                    if char in self._kept_chars and char in _SHARED:
                        result[at + i] = char
                at = text.find(word, at + len(word))
