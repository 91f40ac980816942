"""Web addresses, e-mail, files and paths, mentions and topics."""

import re
from typing import Final

from worker.text import tables
from worker.text.characters import HANZI
from worker.text.normalise.numbers import digits
from worker.text.normalise.rule import Rule, near, rule

_SCHEME: Final = r"(?:https?|ftp|rtsp|rtmp|wss?|file)://"
_URL_TAIL: Final = r"[\w\-.~:/?#\[\]@!$&'()*+,;=%]{1,1000}"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_TOP: Final = (
    r"(?:com|cn|org|net|gov|edu|io|ai|app|dev|info|biz|me|tv|cc|co|top|xyz|site|online|shop|club|"
    r"vip|wang|uk|us|jp|hk|tw|de|fr|ru|eu|kr|sg|la|so|im|fm|be|ly|gl|gg|tech|cloud|wiki|news)"
)
_HOST: Final = rf"(?:{_LABEL}\.){{1,8}}{_TOP}(?![A-Za-z0-9_-])"
_PATH: Final = r"(?:[/?#][A-Za-z0-9\-._~:/?#@!$&*+,;=%]{0,1000})?"
_TRAILING: Final = ".,;:!?)'"
_EXTENSIONS: Final = (
    r"(?:csv|txt|pdf|docx?|xlsx?|pptx?|jpe?g|png|gif|svg|webp|bmp|mp3|mp4|avi|mkv|mov|wav|flac|zip|"
    r"rar|tar|gz|7z|exe|apk|dmg|iso|html?|css|js|ts|json|xml|ya?ml|toml|ini|py|java|cpp|sh|bat|"
    r"log|md|sql|db|dll|jar|go|rs|psd|epub|srt|conf|cfg)"
)


def rules() -> tuple[Rule, ...]:
    """The rules of this family, the most specific first."""
    return (
        rule("url", rf"(?i:{_SCHEME}){_URL_TAIL}", _url),
        rule("email", rf"[\w.+-]{{1,64}}@(?:{_LABEL}\.){{1,8}}[A-Za-z]{{2,24}}", _email),
        rule("www", rf"(?i:www)\.(?:{_LABEL}\.){{0,8}}{_LABEL}{_PATH}", _url),
        rule("host", rf"{_HOST}(?::[0-9]{{2,5}})?{_PATH}", _url),
        rule("local", rf"localhost(?::[0-9]{{2,5}})?{_PATH}", _url),
        rule("hardware", r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![0-9A-Za-z:-])", _hardware),
        rule("drive", r"([A-Za-z]):\\([\w\-.\\]{0,500})", _drive),
        rule(
            "file",
            rf"[A-Za-z0-9_\-]{{1,64}}(?:\.[A-Za-z0-9_\-]{{1,32}}){{0,4}}\.{_EXTENSIONS}"
            r"(?![A-Za-z0-9])",
            _file,
        ),
        rule("path", r"/(?:[A-Za-z][\w\-.]{0,63}/?){1,16}", _path),
        rule("topic", rf"#([{HANZI}\w ]{{1,40}})#", _topic),
        rule("mention", rf"@(?=[{HANZI}A-Za-z])", _mention),
        rule("snake", r"[A-Za-z][A-Za-z0-9]{0,63}(?:_[A-Za-z0-9]{1,63}){1,8}", _snake),
    )


def spell(text: str) -> str:
    """Latin and digits with every mark between them by name.

    >>> spell("a?b=1")
    'a问号b等于一'
    """
    names = tables.mapping("sign_names.tsv")
    # A hyphen inside an address is 杠; what has no name stays for later rules to judge.
    return "".join(digits(c) if c.isdigit() and c.isascii() else names.get(c, c) for c in text)


def _url(match: re.Match[str]) -> str | None:
    address = match.group()
    body = address.rstrip(_TRAILING)
    tail = address[len(body) :]
    bare = re.sub(rf"(?i)^{_SCHEME}", "", body).rstrip("/")
    if not bare:
        return None
    return spell(bare) + tail.translate(str.maketrans(",;:!?", "，；：！？", ".)'"))


def _hardware(match: re.Match[str]) -> str | None:
    """The address of a network card, two signs at a time."""
    if near(match).isascii() and near(match).isalnum():
        return None
    return " ".join(digits(pair) for pair in re.split("[:-]", match.group()))


def _email(match: re.Match[str]) -> str:
    user, _, host = match.group().partition("@")
    return (
        f"{spell(user)}at {spell(host)}"
        if user[-1:].isdigit()
        else (f"{spell(user)} at {spell(host)}")
    )


def _drive(match: re.Match[str]) -> str:
    return f"{match.group(1)}盘{spell(match.group(2).replace(chr(92), '/')).strip('斜杠')}"


def _file(match: re.Match[str]) -> str | None:
    if match.group().replace(".", "").isdigit():
        return None
    return spell(match.group())


def _path(match: re.Match[str]) -> str | None:
    before = near(match)
    if before.isalnum() or match.group().count("/") < 2:
        return None
    return spell(match.group().rstrip("/"))


def _topic(match: re.Match[str]) -> str | None:
    inner = match.group(1)
    # Only the marks are layout: what they hold is normalised again as text of its own.
    return inner if not re.search(r"[0-9A-Za-z_]", inner) else None


def _mention(match: re.Match[str]) -> str:
    return " at " if near(match).isascii() and near(match).isalnum() else "艾特"


def _snake(match: re.Match[str]) -> str:
    return spell(match.group())
