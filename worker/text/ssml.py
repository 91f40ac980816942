"""SSML: the subset the farm speaks, to passages of one style each; positions in every error.

Parsed by expat alone. Document types, entities, processing instructions, foreign encodings and
anything over the limits are refused before they cost anything. What an element makes of its
text is in `markup`.
"""

import re
from typing import Any, Final
from xml.parsers import expat

from shared.errors import InvalidMarkup
from worker.text.markup import Builder
from worker.text.passages import Cast, Passage

MAX_BYTES: Final = 64 * 1024
MAX_TAGS: Final = 4_000
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 2_000
MAX_ATTRIBUTES: Final = 8
MAX_VALUE_CHARS: Final = 1_024

_START: Final = re.compile(r"[\ufeff\s]*(?:<\?xml[^>]{0,200}\?>\s*)?<speak")
_DECLARATION: Final = re.compile(r"[\ufeff\s]*<\?xml[^>]{0,200}\?>")
_DECLARES: Final = re.compile(r"<!(?!--|\[CDATA\[)")
_WRAPPER: Final = "ttsfarm-document"


def looks_like_ssml(text: str) -> bool:
    """Whether `text` is meant as SSML: it begins with a `speak` element."""
    return _START.match(text) is not None


def passages(
    source: str,
    *,
    cast: Cast,
    lenient: bool = False,
) -> list[tuple[str, int, Passage]]:
    """The passages of an SSML document with the source each covers and where that begins.

    Several `speak` elements and plain text between them are allowed. `lenient` strips unknown
    tags and keeps their text. Raises `InvalidMarkup`, and what `cast` raises for a voice.
    """
    _check_size(source)
    builder = Builder(source, cast=cast, lenient=lenient)
    _Parser(source, builder).run()
    return builder.finish()


def _check_size(source: str) -> None:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise InvalidMarkup(
            "too_large", f"The markup has {size} bytes, at most {MAX_BYTES} are read"
        )
    if source.count("<") > MAX_TAGS:
        raise InvalidMarkup("too_many_tags", f"The markup has more than {MAX_TAGS} tags")


class _Parser:
    """expat with every way out of a plain document shut; hands elements and text to a builder."""

    def __init__(self, source: str, builder: Builder) -> None:
        self._source = source
        self._builder = builder
        self._elements = 0
        self._depth = 0
        # The wrapper makes one document of several `speak` elements and the text around them.
        declaration = _DECLARATION.match(source)
        self._skipped = declaration.end() if declaration else 0
        encoding = (
            re.search(r"encoding\s*=\s*[\"']([^\"']*)", declaration.group())
            if declaration
            else None
        )
        if encoding and encoding.group(1).lower() not in ("utf-8", "utf8"):
            raise InvalidMarkup("bad_encoding", "Only UTF-8 is read", line=1, column=1)
        body = source[self._skipped :]
        self._head = f"<{_WRAPPER}>".encode()
        self._body = body.encode("utf-8", "surrogatepass")
        self._expat = self._make()

    def _make(self) -> Any:
        parser = expat.ParserCreate("utf-8", namespace_separator=None)
        parser.buffer_text = False
        parser.ordered_attributes = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.ProcessingInstructionHandler = self._refuse(
            "pi_forbidden", "processing instructions"
        )
        for name in (
            "StartDoctypeDeclHandler",
            "EntityDeclHandler",
            "ElementDeclHandler",
            "AttlistDeclHandler",
            "NotationDeclHandler",
            "UnparsedEntityDeclHandler",
            "ExternalEntityRefHandler",
        ):
            setattr(parser, name, self._refuse("dtd_forbidden", "document types and entities"))
        parser.SkippedEntityHandler = self._refuse("entity_forbidden", "entities")
        return parser

    def _refuse(self, code: str, what: str) -> Any:
        def handler(*_: object) -> None:
            raise self._error(code, f"The markup holds {what}, which are not read")

        return handler

    def run(self) -> None:
        try:
            self._expat.Parse(self._head, False)
            self._expat.Parse(self._body, False)
            self._expat.Parse(f"</{_WRAPPER}>".encode(), True)
        except expat.ExpatError as error:
            code = "entity_forbidden" if "entity" in str(error) else "not_well_formed"
            if _DECLARES.match(self._source, self._source.rfind("<", 0, self._place() + 1)):
                raise self._error("dtd_forbidden", "The markup declares a document type") from error
            what = expat.ErrorString(error.code)
            raise self._error(code, f"The markup is not well-formed: {what}") from error

    def _place(self) -> int:
        """The character in the source that expat is at."""
        at: int = self._expat.CurrentByteIndex - len(self._head)
        before = self._body[: max(0, at)].decode("utf-8", "surrogatepass")
        return min(len(self._source), self._skipped + len(before))

    def _error(self, code: str, message: str) -> InvalidMarkup:
        return self._builder.error(code, message, self._place())

    def _start(self, name: str, attributes: list[str]) -> None:
        if name == _WRAPPER and self._elements == 0 and self._depth == 0:
            self._depth = 1
            return
        self._elements += 1
        self._depth += 1
        pairs = dict(zip(attributes[::2], attributes[1::2], strict=True))
        if self._depth - 1 > MAX_DEPTH:
            raise self._error("too_deep", f"Elements are nested deeper than {MAX_DEPTH}")
        if self._elements > MAX_ELEMENTS:
            raise self._error("too_many_elements", f"There are more than {MAX_ELEMENTS} elements")
        if len(pairs) > MAX_ATTRIBUTES or any(len(v) > MAX_VALUE_CHARS for v in pairs.values()):
            raise self._error("bad_attribute", "Too many attributes or too long a value")
        self._builder.start(name, pairs, self._place())

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name != _WRAPPER:
            place = self._place()
            close = self._source.find(">", place)
            self._builder.end(name, close + 1 if close >= 0 else place)

    def _text(self, text: str) -> None:
        place = self._place()
        if place < self._skipped:
            return
        plain = self._source.startswith(text, place)
        self._builder.text(text, place, literal=plain)
