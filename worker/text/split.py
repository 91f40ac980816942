"""Text into segments, sentence by sentence, in a stream: the frontend of engines that read text.

The segments' source spans follow one another and cover the whole text, so no character is lost:
what can not be spoken belongs to the span of a neighbour.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from worker.text.characters import blanked, count_spoken, is_spoken
from worker.types import Segment

MAX_CHARS = 60  # about 15 s of Chinese
MIN_SPOKEN = 4  # about 1 s; a shorter sentence joins the next

_CLOSING = "\"'”’」』）)】》〉］\\]"
_SENTENCE_END = re.compile(
    rf"(?:[。！？!?；;…]+|\.(?=[\s{_CLOSING}]|$))[{_CLOSING}。！？!?…]*[ \t]*\n*|\n+"
)
_CLAUSE_END = re.compile(r"[，、,：:—～~][”’」』）)]?|[,;:](?=\s)")
_WORD_CHARACTER = re.compile(r"[A-Za-z0-9_.@/\\\-]")
_SPACES = re.compile(r"\s+")
_SHAPING = 4  # marks kept around a segment's sound, such as a quote, a sign or a question mark

# The strongest mark decides how long the voice rests.
_PAUSES = (
    (re.compile("\n"), 600),
    (re.compile("[。！？!?….]"), 350),
    (re.compile("[；;]"), 250),
    (re.compile("[，、,：:—～~]"), 150),
)


@dataclass(frozen=True, kw_only=True)
class _Piece:
    start: int
    end: int
    n_spoken: int


def split(text: str, *, max_chars: int = MAX_CHARS) -> Iterator[Segment]:
    """The speakable segments of `text`, none where nothing can be spoken.

    Spans cover `text` without gaps; `spoken` is the span's text without what can not be
    spoken, a few marks over `max_chars` at most. The silence after follows the punctuation; the
    last segment has none.
    """
    held: _Piece | None = None
    index = 0
    for piece in _gathered(text, max_chars):
        if held is not None:
            yield _segment(text, index, held, last=False)
            index += 1
        held = piece
    if held is not None:
        yield _segment(text, index, held, last=True)


def _gathered(text: str, max_chars: int) -> Iterator[_Piece]:
    """Pieces that can be spoken: silent ones and very short ones joined to a neighbour."""
    held: _Piece | None = None
    for piece in _pieces(text, max_chars):
        if held is None:
            held = piece
        elif _joins(text, held, piece, max_chars):
            n_spoken = held.n_spoken + piece.n_spoken
            held = _Piece(start=held.start, end=piece.end, n_spoken=n_spoken)
        else:
            yield held
            held = piece
    if held is not None and held.n_spoken:
        yield held


def _joins(text: str, held: _Piece, piece: _Piece, max_chars: int) -> bool:
    if not held.n_spoken or not piece.n_spoken:
        return True
    if held.n_spoken >= MIN_SPOKEN or piece.end - held.start > max_chars:
        return False
    return "\n" not in text[held.start : held.end]


def _pieces(text: str, max_chars: int) -> Iterator[_Piece]:
    """Sentences, long ones cut, in order and without gaps; no piece is over `max_chars`."""
    start = 0
    for end in _sentence_ends(text):
        while end - start > max_chars:
            cut = _cut(text, start, start + max_chars)
            yield _piece(text, start, cut)
            start = cut
        yield _piece(text, start, end)
        start = end


def _sentence_ends(text: str) -> Iterator[int]:
    end = 0
    for found in _SENTENCE_END.finditer(text):
        end = found.end()
        yield end
    if end < len(text):
        yield len(text)


def _piece(text: str, start: int, end: int) -> _Piece:
    return _Piece(start=start, end=end, n_spoken=count_spoken(text[start:end]))


def _cut(text: str, start: int, limit: int) -> int:
    """Where to cut a sentence that goes on past `limit`: the best place in its later half.

    After a comma, else at a space, else between two characters that are not of one word.
    """
    half = start + max(1, (limit - start) // 2)
    window = text[half:limit]
    for pattern in (_CLAUSE_END, _SPACES):
        ends = [half + found.end() for found in pattern.finditer(window)]
        if ends:
            return ends[-1]
    for cut in range(limit, half, -1):
        if not _inseparable(text, cut):
            return cut
    return limit


def _inseparable(text: str, cut: int) -> bool:
    before, after = text[cut - 1], text[cut]
    if _WORD_CHARACTER.match(before) and _WORD_CHARACTER.match(after):
        return True
    return not after.isspace() and count_spoken(after) == 0


def _segment(text: str, index: int, piece: _Piece, *, last: bool) -> Segment:
    source = text[piece.start : piece.end]
    first = next(at for at, character in enumerate(source) if is_spoken(character))
    end = next(at for at in range(len(source), 0, -1) if is_spoken(source[at - 1]))
    return Segment(
        index=index,
        start=piece.start,
        end=piece.end,
        text=source,
        spoken=blanked(source[max(0, first - _SHAPING) : end + _SHAPING]).strip(),
        silence_after_ms=0 if last else _silence_ms(source[end:]),
    )


def _silence_ms(marks: str) -> int:
    """The pause that the marks after a segment's last sound ask for."""
    return next((pause_ms for found, pause_ms in _PAUSES if found.search(marks)), 0)
