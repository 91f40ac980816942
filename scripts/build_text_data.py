"""Builds the generated files of `worker/text/data` from packages; run again when one is updated.

    pip install pypinyin==0.55.0 pypinyin-dict==0.9.0 g2pM==0.1.2.5 opencc==1.4.2 rjieba==0.2.2
    apt-get download festlex-cmu && dpkg -x festlex-cmu_*.deb festlex
    python scripts/build_text_data.py festlex/usr/share/festival/dicts/cmu

What comes from where, and under which licence, is in `worker/text/data/README.md`.
"""

import gzip
import importlib.util
import json
import pickle
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import opencc  # type: ignore[import-untyped,unused-ignore]  # no stubs
import rjieba
from pypinyin.contrib.tone_convert import to_tone3

DATA = Path(__file__).parent.parent / "worker" / "text" / "data"
# Traditional characters whose simplified form depends on the word; the usual one is named here.
HANT_EXTRA = {"著": "着", "藉": "借", "瞭": "了", "裡": "里", "麽": "么", "妳": "你", "祂": "他"}
PHONE_NAMES = {"ax": "ah"}
TONE_MARK = re.compile(r"^[a-z]+[1-5]$")


def main(festlex: Path) -> None:
    build_hant()
    defaults = build_readings()
    build_phrases(defaults)
    build_model()
    build_lexicon(festlex / "cmudict-0.4.out")
    build_letter_rules(festlex / "cmu_lts_rules.scm")


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).parent


def write(name: str, comment: str, lines: list[str]) -> None:
    text = f"# {comment}\n" + "".join(f"{line}\n" for line in lines)
    (DATA / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(lines)} lines, {len(text.encode()):,} bytes")


def build_hant() -> None:
    converter = opencc.OpenCC("t2s")
    table = dict(HANT_EXTRA)
    for code in [*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000)]:
        simple = converter.convert(chr(code))
        if len(simple) == 1 and simple != chr(code):
            table.setdefault(chr(code), simple)
    comment = "Traditional to simplified characters, one for one; from OpenCC (Apache-2.0)."
    write("hant.tsv", comment, [f"{a}\t{b}" for a, b in sorted(table.items())])


def tone(reading: str) -> str:
    """Tone3 with 5 for neutral and v for ü."""
    return str(to_tone3(reading, neutral_tone_with_five=True)).replace("ü", "v")


def cedict() -> dict[str, list[str]]:
    raw = pickle.loads((package("g2pM") / "digest_cedict.pkl").read_bytes())
    found = {}
    for char, readings in raw.items():
        kept = [r.replace("u:", "v") for r in readings if r not in ("xx5", "r5")]
        if kept:
            found[char] = kept
    return found


def build_readings() -> dict[str, str]:
    source = json.loads((package("pypinyin") / "pinyin_dict.json").read_text())
    table = cedict()
    defaults: dict[str, str] = {}
    for code, readings in source.items():
        first = tone(readings.split(",")[0])
        choices = table.get(chr(int(code)))
        if choices and first not in choices:
            first = choices[0]
        if TONE_MARK.match(first):
            defaults[chr(int(code))] = first
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for char, reading in defaults.items():
        groups[reading].append(char)
    comment = (
        "The usual reading of a character, and the characters; pypinyin (MIT), g2pM (Apache-2.0)."
    )
    write("characters.tsv", comment, [f"{r}\t{''.join(c)}" for r, c in sorted(groups.items())])
    many = [f"{c}\t{' '.join(r)}" for c, r in sorted(table.items()) if len(r) > 1]
    write("polyphones.tsv", "Characters with several readings; g2pM (Apache-2.0).", many)
    return defaults


def build_phrases(defaults: dict[str, str]) -> None:
    from pypinyin_dict.phrase_pinyin_data.large_pinyin import phrases_dict as large

    segmenter = rjieba.Jieba()
    own = json.loads((package("pypinyin") / "phrases_dict.json").read_text())
    merged = {w: r for w, r in large.items() if segmenter.has_word(w) and sound(w, r)} | own
    many = {c for c, readings in cedict().items() if len(readings) > 1}
    differing: list[str] = []
    usual: list[str] = []
    for word, readings in sorted(merged.items()):
        said = [sandhi_free(c, tone(r[0])) for c, r in zip(word, readings, strict=False)]
        if len(word) != len(readings) or len(word) < 2 or not all(map(TONE_MARK.match, said)):
            continue
        if any(defaults.get(c) != s for c, s in zip(word, said, strict=True)):
            differing.append(f"{word}\t{' '.join(said)}")
        elif many.intersection(word):
            usual.append(word)
    comment = "Words that are not read character by character; pypinyin, pypinyin-dict (MIT)."
    write("phrases.tsv", comment, differing)
    comment = "Words with a polyphone where each character has its usual reading; same sources."
    lines = [" ".join(usual[i : i + 20]) for i in range(0, len(usual), 20)]
    write("usual_words.tsv", comment, lines)


def sound(word: str, readings: list[list[str]]) -> bool:
    """Leaves out what the large list gets wrong as a class: neutral 子, 地 and 的 inside a word."""
    return not any(
        char in "子地的" and tone(reading[0]).endswith("5")
        for char, reading in list(zip(word, readings, strict=False))[:-1]
    )


def sandhi_free(char: str, reading: str) -> str:
    """Some entries carry sandhi for 一 and 不; it is applied later, from the plain tone."""
    return {"一": "yi1", "不": "bu4"}.get(char, reading)


def build_model() -> None:
    folder = package("g2pM")
    weights: dict[str, Any] = pickle.loads((folder / "np_ckpt.pkl").read_bytes())
    chars: dict[str, int] = pickle.loads((folder / "char2idx.pkl").read_bytes())
    classes: dict[str, int] = pickle.loads((folder / "class2idx.pkl").read_bytes())
    names = {k.replace(".", "_"): v.astype(np.float16) for k, v in weights.items()}
    single = [c if len(c) == 1 else "" for c in sorted(chars, key=chars.__getitem__)]
    special = {c: i for c, i in chars.items() if len(c) > 1}
    ordered = sorted(classes, key=classes.__getitem__)
    np.savez_compressed(
        DATA / "polyphone_model.npz",
        characters=np.array(single),
        classes=np.array([c.replace("u:", "v") for c in ordered]),
        special=np.array([special["<UNK>"], chars["시"], chars["끝"]]),
        **names,
    )
    print("polyphone_model.npz:", (DATA / "polyphone_model.npz").stat().st_size, "bytes")


def build_lexicon(source: Path) -> None:
    entry = re.compile(r'\("([a-z\']+)" (\S+) \((.*)\)\)\s*$')
    syllable = re.compile(r"\(\(([a-z ]+)\) (\d)\)")
    words: dict[str, str] = {}
    for line in source.read_text(encoding="latin-1").splitlines():
        match = entry.match(line)
        if match is None or match.group(1) in words:
            continue
        parts = [
            " ".join(PHONE_NAMES.get(p, p) for p in phones.split()) + stress
            for phones, stress in syllable.findall(match.group(3))
        ]
        if parts:
            words[match.group(1)] = ".".join(parts)
    text = "\n" + "".join(f"{w}\t{s}\n" for w, s in sorted(words.items()))
    (DATA / "english.tsv.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(
        "english.tsv.gz:", len(words), "words,", (DATA / "english.tsv.gz").stat().st_size, "bytes"
    )


QUESTIONS = {"p.name": "1", "p.p.name": "2", "p.p.p.name": "3",
             "n.name": "4", "n.n.name": "5", "n.n.n.name": "6"}  # fmt: skip


def build_letter_rules(source: Path) -> None:
    """Each letter's tree in pre-order: a question is place and letter, a leaf its phones."""
    text = re.sub(r";[^\n]*", "", source.read_text(encoding="latin-1"))
    text = text[text.index("(set! cmu_lts_rules") :]
    tokens = re.findall(r"[()']|[^\s()']+", text)
    tree, _ = parse(tokens, tokens.index("'") + 1)
    lines = [f"{letter}\t{' '.join(flatten(root))}" for letter, root in tree if len(letter) == 1]
    data = "".join(f"{line}\n" for line in lines).encode()
    (DATA / "letter_rules.tsv.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    print("letter_rules.tsv.gz:", len(gzip.compress(data, 9, mtime=0)), "bytes")


def parse(tokens: list[str], at: int) -> tuple[Any, int]:
    if tokens[at] != "(":
        return tokens[at], at + 1
    items = []
    at += 1
    while tokens[at] != ")":
        item, at = parse(tokens, at)
        items.append(item)
    return items, at + 1


def flatten(node: Any) -> list[str]:
    if len(node) == 1:
        return ["=" + node[0][-1]]
    (feature, _, letter), yes, no = node
    return [QUESTIONS[feature] + letter, *flatten(yes), *flatten(no)]


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    main(Path(sys.argv[1]))
