"""`explain`: what the frontend makes of a text, stage by stage for a person or as JSON lines.

Only shows; `worker/text` decides. Registered by `worker/cli.py`.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from shared.errors import InvalidMarkup
from worker.text.frontend import Frontend, Options
from worker.text.parts import Part
from worker.text.passages import Traits, alone
from worker.text.ssml import looks_like_ssml


@click.command()
@click.argument("text", required=False)
@click.option("--jsonl", is_flag=True, help="Read a text a line, write a JSON object a line.")
@click.option("--ssml", is_flag=True, help="Read SSML; texts that begin with <speak are anyway.")
@click.option("--language", default="zh", show_default=True, help="The voice's language.")
def explain(text: str | None, jsonl: bool, ssml: bool, language: str) -> None:
    """Show what is said for TEXT: normalised text, words, pinyin, pauses, symbols.

    Without TEXT, standard input is read.
    """
    frontend = Frontend()
    if jsonl:
        with _utf8_input():
            for line in sys.stdin:
                click.echo(_json_line(frontend, line.rstrip("\r\n"), ssml, language))
        return
    with _utf8_input():
        source = text if text is not None else sys.stdin.read()
    try:
        for part in frontend.parts(source, _options(source, ssml, language)):
            click.echo("\n".join(_lines(part)))
    except InvalidMarkup as error:
        raise click.ClickException(error.message) from error


@contextmanager
def _utf8_input() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise click.UsageError(
            "Standard input is not UTF-8. Convert it first, for instance: "
            "iconv -f GB18030 -t UTF-8 FILE | ttsfarm-worker explain"
        ) from error


def _options(text: str, ssml: bool, language: str) -> Options:
    markup = ssml or looks_like_ssml(text)
    return Options(markup="ssml" if markup else "text", cast=alone(Traits(language=language)))


def _json_line(frontend: Frontend, text: str, ssml: bool, language: str) -> str:
    try:
        parts = list(frontend.parts(text, _options(text, ssml, language)))
    except InvalidMarkup as error:
        return json.dumps({"error": error.fault, "message": error.message}, ensure_ascii=False)
    return json.dumps(_described(text, parts), ensure_ascii=False)


def _described(text: str, parts: list[Part]) -> dict[str, Any]:
    spoken = [part for part in parts if part.spoken]
    pinyin = [reading for part in parts for reading in part.pinyin]
    return {
        "spoken": _together(spoken),
        "segments": [
            {"start": p.start, "end": p.end, "spoken": p.spoken, "symbols": p.symbols}
            for p in spoken
        ],
        "words": [word for part in spoken for word in part.words],
        "pinyin": pinyin + [None] * (len(text) - len(pinyin)),
        "substitutions": [
            {
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "replacement": s.replacement,
                "reason": s.reason,
            }
            for part in parts
            for s in part.substitutions
        ],
    }


def _together(parts: list[Part]) -> str:
    """What is said for all parts; a space where a Latin word would meet the next."""
    said = ""
    for part in parts:
        latin = said[-1:].isascii() and part.spoken[:1].isascii() and said
        said += (" " if latin else "") + part.spoken
    return said


def _lines(part: Part) -> Iterator[str]:
    """A part for a person: one stage a line."""
    yield f"[{part.start}:{part.end}] {part.text.strip()!r}"
    if part.spoken:
        yield f"  spoken   {part.spoken}"
        yield f"  words    {' '.join(part.words)}"
        yield f"  pinyin   {' '.join(reading for reading in part.pinyin if reading)}"
    if part.symbols:
        yield f"  pauses   {_pauses(part.symbols)}"
        yield f"  symbols  {part.symbols}"
    for name, value in _asked(part):
        yield f"  {name:<8} {value}"
    for s in part.substitutions:
        yield f"  not said [{s.start}:{s.end}] {s.text!r}: {s.reason}"


def _pauses(symbols: str) -> str:
    """Phones of each prosodic word with the break after it."""
    said: list[str] = []
    for unit in symbols.split(" "):
        phone, tone, syllable, *_ = unit[1:].split("$")
        if phone[0] == "#":
            said.append(f"{phone} ")
        else:
            mark = tone[-1] if syllable in ("s_end", "s_both") else ""
            said.append(f"{phone.removesuffix('_c')}{mark}{'' if mark == '' else '.'}")
    return "".join(said).replace(".#", " #").strip()


def _asked(part: Part) -> Iterator[tuple[str, object]]:
    """What the markup asks for a part, by name."""
    voicing = part.voicing
    for name in ("voice", "emotion", "intensity", "speed", "pitch", "volume"):
        value = getattr(voicing, name)
        if value is not None:
            yield name, value
    if part.silence_before_ms:
        yield "before", f"{part.silence_before_ms} ms of silence"
    if part.silence_after_ms is not None:
        yield "after", f"{part.silence_after_ms} ms of silence"
