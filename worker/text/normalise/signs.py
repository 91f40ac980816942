"""Signs, marks and characters of other scripts: read by name, kept as a pause, or reported."""

import re
import unicodedata

from worker.text import tables
from worker.text.normalise.numbers import cardinal
from worker.text.normalise.rule import Rule, near, rule

_ENCLOSED = re.compile("[①-⒛⓪⓫-⓿❶-➓㉑-㉟㊱-㊿]")


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule("enclosed", _ENCLOSED.pattern, _enclosed),
        rule("roman_sign", "[Ⅰ-Ⅻⅰ-ⅻ]", _numeric),
        rule("key", r"[#*](?=[号键])", lambda m: "井" if m.group() == "#" else "星"),
        rule("and", " ?& ?", _and),
        rule("chinese_enclosed", "[㈠-㈩㊀-㊉]", _folded),
        rule("sign", tables.any_of(k for k, v in tables.mapping("signs.tsv").items() if v), _sign),
    )


def _enclosed(match: re.Match[str]) -> str:
    # A number in a circle heads an item: it stands apart from what follows.
    lead = "" if match.start() == 0 or near(match) in " 。，；、" else " "
    return f"{lead}{cardinal(str(int(unicodedata.numeric(match.group()))))} "


def _numeric(match: re.Match[str]) -> str:
    return cardinal(str(int(unicodedata.numeric(match.group()))))


def _folded(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group()).strip("()")


def _and(match: re.Match[str]) -> str:
    after = match.string[match.end() : match.end() + 1]
    if "\u4e00" <= near(match) <= "\u9fff" and "\u4e00" <= after <= "\u9fff":
        return "和"
    return " and "


def _sign(match: re.Match[str]) -> str:
    return tables.mapping("signs.tsv")[match.group()]
