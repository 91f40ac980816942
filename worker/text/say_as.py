"""`say-as` and `sub`: text whose class the user names, said by the rules of that class.

Text that does not fit its class is normalised as any other.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from worker.text import tables
from worker.text.clean import clean
from worker.text.normalise import Normaliser, numbers
from worker.text.normalise.dates import spoken_date
from worker.text.normalise.phones import grouped
from worker.text.normalise.scan import join
from worker.text.normalise.times import spoken_clock

_SEPARATOR: Final = r"\s*[~～—–-]\s*"


@lru_cache(maxsize=1)
def _normaliser() -> Normaliser:
    return Normaliser()


def spoken(kind: str, text: str) -> str:
    """What is said for `text` as `kind`: one of the table's, or `text` for no class at all."""
    text = clean(text).text.strip()
    said = _KINDS[kind](text) if kind in _KINDS and text else None
    return said if said is not None else join(_normaliser().pieces(text))


def lost(text: str) -> str:
    """Why some of `text` can not be said; empty where all of it can."""
    cleaned = clean(text)
    reasons = [r.reason for r in cleaned.removals]
    reasons += [p.unread for p in _normaliser().pieces(cleaned.text.strip()) if p.unread]
    return reasons[0] if reasons else ""


def readings(kind: str, text: str) -> tuple[str, ...] | None:
    """Readings that the class fixes: a name's surname; None for all others."""
    text = clean(text).text.strip()
    if kind != "name" or not text:
        return None
    table = {w[0]: w[1:] for w in tables.words("g2p.tsv", "surname")}
    double = tables.mapping("readings.tsv").get(text[:2]) if text[:2] in _DOUBLE else None
    head = double.split(" ") if double else [table[text[0]]] if text[0] in table else None
    if head is None or spoken(kind, text) != text:
        return None
    single = _single_readings()
    rest = [single.get(c, "") for c in text[len(head) :]]
    return (*head, *rest) if all(rest) else None


_DOUBLE: Final = ("尉迟", "万俟", "长孙", "澹台")


@lru_cache(maxsize=1)
def _single_readings() -> dict[str, str]:
    found = {c: row[0] for row in tables.rows("characters.tsv") for c in row[1]}
    return found | {w[0]: w[1:] for w in tables.words("g2p.tsv", "default")}


def _cardinal(text: str) -> str | None:
    if not re.fullmatch(r"[-+]?[0-9][0-9,]{0,30}(?:\.[0-9]{1,20})?", text):
        return None
    number = re.sub(r"\.0+$", "", text.replace(",", ""))
    return numbers.signed(number)


def _digits(text: str) -> str | None:
    if not re.fullmatch(r"[0-9 -]{1,64}", text):
        return None
    number = re.sub(r"[ -]", "", text)
    if len(number) <= 10:
        return numbers.digits(number)
    return " ".join(numbers.digits(number[i : i + 4]) for i in range(0, len(number), 4))


def _telephone(text: str) -> str | None:
    if service := re.fullmatch(r"([48]00)[ -]?([0-9]{3})[ -]?([0-9]{4})", text):
        return " ".join(numbers.phone_digits(part) for part in service.groups())
    match = re.fullmatch(
        r"(?:\+?(86)[ -]?)?\(?((?:0[0-9]{2,3})(?=[)\s-]|[0-9]{7,8}))?\)?[ -]?"
        r"([0-9][0-9 -]{2,14}?)"
        r"(?:(?:转|-| ext\.? ?)([0-9]{1,5}))?",
        text,
    )
    if match is None:
        return None
    country, area, number, extension = match.groups()
    digits = re.sub(r"[ -]", "", number)
    groups = [numbers.phone_digits(area)] if area else []
    groups.append(grouped(digits))
    if country:
        groups.insert(0, "八六")
    return " ".join(groups) + (f" 转{numbers.phone_digits(extension)}" if extension else "")


def _address(text: str) -> str:
    text = text.replace("-", "杠").replace("#", "号")
    return re.sub(
        r"[0-9]+",
        lambda m: (
            numbers.phone_digits(m.group()) if len(m.group()) > 2 else numbers.cardinal(m.group())
        ),
        text,
    )


def _id(text: str) -> str:
    return _spell(text)


def _characters(text: str) -> str:
    return _spell(text)


def _spell(text: str) -> str:
    names = tables.mapping("sign_names.tsv")
    said = []
    for char in text:
        if char.isdigit() and char.isascii():
            said.append(numbers.digits(char))
        elif char.isascii() and char.isalpha():
            said.append(char.upper())
        elif char in names:
            said.append(names[char])
        elif not char.isspace():
            said.append(join(_normaliser().pieces(char)))
    return " ".join(part for part in said if part)


def _punctuation(text: str) -> str | None:
    names = tables.mapping("sign_names.tsv")
    if not all(char in names for char in text):
        return None
    return " ".join(names[char] for char in text)


def _date(text: str) -> str | None:
    halves = re.split(r"\s*~\s*|(?<=[0-9]{2}[./][0-9]{2})\s*-\s*", text)
    said = [_one_date(half) for half in halves]
    if len(said) > 2 or not all(said):
        return None
    return "至".join(part for part in said if part)


def _one_date(text: str) -> str | None:
    if match := re.fullmatch(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})[日号]?", text):
        return spoken_date(*match.groups())
    if match := re.fullmatch(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})", text):
        return spoken_date(match.group(3), match.group(1), match.group(2))
    if match := re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})", text):
        return spoken_date(*match.groups())
    if (match := re.fullmatch(r"([0-9]{4})[-/.]([0-9]{1,2})", text)) and 0 < int(
        match.group(2)
    ) < 13:
        return f"{numbers.digits(match.group(1))}年{numbers.cardinal(str(int(match.group(2))))}月"
    if match := re.fullmatch(r"([0-9]{1,2})[-/.]([0-9]{1,2})", text):
        said = spoken_date("2000", *match.groups())
        return said.partition("年")[2] if said else None
    return None


def _time(text: str) -> str | None:
    said = []
    for part in re.split(_SEPARATOR, text):
        match = re.fullmatch(
            r"([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?:[:：]([0-5][0-9]))?\s*(?:([AaPp])\.?[Mm]\.?)?",
            part,
        )
        if match is None:
            return None
        said.append(spoken_clock(*match.groups()))
    return "到".join(said)


def _currency(text: str) -> str | None:
    names = tables.mapping("currencies.tsv")
    match = re.fullmatch(r"([^0-9\s.-]*)\s*([0-9][0-9,]*(?:\.[0-9]+)?)\s*([^0-9\s.]*)", text)
    if match is None:
        return None
    sign = match.group(1) or match.group(3)
    if sign not in names:
        return None
    said = numbers.money(match.group(2))
    return ("两" if said == "二" else said) + names[sign]


def _measure(text: str) -> str:
    return join(_normaliser().pieces(text)).replace("到", "至")


_KINDS: Final[dict[str, Callable[[str], str | None]]] = {
    "cardinal": _cardinal, "digits": _digits, "telephone": _telephone, "address": _address,
    "id": _id, "characters": _characters, "punctuation": _punctuation, "date": _date,
    "time": _time, "currency": _currency, "measure": _measure,
}  # fmt: skip
