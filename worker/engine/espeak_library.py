"""espeak-ng's C library through ctypes: the only place that knows its structures and numbers.

The library is global to the process and knows one call at a time; a lock keeps it so. Left to
itself it carries state from one call into the next; `speak` says how that is undone.
"""

import ctypes
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import EngineUnavailable, SynthesisError
from worker.types import Samples

RATE_LIMITS_WPM = (80, 449)  # from 450 on the library speeds up by another, stateful way
VOLUME_PERCENT = 70  # full volume touches the limits of 16 bits and starts its gain control
PRIMER = b"a"

# Pitch flutter and roughness run on counters that no call resets, so the same text would
# sound different each time. Voice files may set both to nothing.
STEADY = b"\nflutter 0\nroughness 0\n"
LONGEST_PATH_BYTES = 59  # the library copies a voice's path into 60 bytes

_RETRIEVE_SYNCHRONOUSLY = 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_END_OF_EVENTS, _WORD = 0, 1
_OK = 0


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How to speak, in the library's units: words a minute, pitch and range from 0 to 99."""

    rate_wpm: int
    pitch: int
    range: int


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word event: where it begins in the text, how long it is written, when it sounds."""

    position: int
    n_chars: int
    start_s: float


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What one call said: float32 samples of shape [n_samples] and its word events in time."""

    samples: Samples
    words: tuple[Word, ...]


class _Id(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, the first is 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class EspeakLibrary:
    """The loaded library. Make it through `library()`: a second one would reset the first."""

    def __init__(self) -> None:
        library_path, self._data = _locate()
        try:
            self._c = ctypes.CDLL(library_path)
        except OSError as error:
            raise EngineUnavailable(f"espeak-ng's library does not load: {error}") from error
        self.rate_hz: int = self._c.espeak_Initialize(
            _RETRIEVE_SYNCHRONOUSLY, 0, str(self._data).encode(), _DO_NOT_EXIT
        )
        if self.rate_hz <= 0:
            raise EngineUnavailable(
                "espeak-ng could not read its data; its folder's path must exist and be shorter "
                "than 150 characters. Reinstall espeakng-loader or move the environment"
            )
        self._lock = threading.Lock()
        self._sound = bytearray()
        self._words: list[Word] = []
        self._hear_c = _Callback(self._hear)  # kept: C holds no reference
        self._c.espeak_SetSynthCallback(self._hear_c)

    def speak(self, voice_file: str, text: str, manner: Manner) -> Speech:
        """`text` as `voice_file` (below the data folder, such as `lang/gmw/en`) says it.

        The same arguments give the same samples, whatever was spoken before: a primer in the
        same manner settles the generator, and choosing the voice anew after it makes the
        library compute its formants from that manner. Raises `SynthesisError` when the library
        reports an error, `EngineUnavailable` when the voice can not be read.
        """
        definition = self._definition(voice_file)
        with self._lock:
            self._choose(definition)
            self._synthesise(PRIMER, manner)
            self._choose(definition)
            self._synthesise(text.encode(), manner)
            sound = np.frombuffer(bytes(self._sound), dtype=np.int16)
            samples = sound.astype(np.float32) / np.float32(32768)
            return Speech(samples=samples, words=tuple(self._words))

    def _definition(self, voice_file: str) -> bytes:
        try:
            return (self._data / voice_file).read_bytes() + STEADY
        except OSError as error:
            raise EngineUnavailable(f"espeak-ng has no voice {voice_file}: {error}") from error

    def _choose(self, definition: bytes) -> None:
        try:
            with tempfile.NamedTemporaryFile(prefix="v") as file:
                file.write(definition)
                file.flush()
                path = file.name.encode()
                status = self._c.espeak_SetVoiceByFile(path)
        except OSError as error:
            raise EngineUnavailable(f"no temporary file for espeak-ng's voice: {error}") from error
        if status != _OK:
            hint = " (set TMPDIR to a shorter path)" if len(path) > LONGEST_PATH_BYTES else ""
            raise EngineUnavailable(f"espeak-ng refused its voice, status {status:#x}{hint}")

    def _synthesise(self, text: bytes, manner: Manner) -> None:
        self._sound.clear()
        self._words.clear()
        settings = (
            (_RATE, manner.rate_wpm),
            (_VOLUME, VOLUME_PERCENT),
            (_PITCH, manner.pitch),
            (_RANGE, manner.range),
        )
        for parameter, value in settings:
            self._c.espeak_SetParameter(parameter, value, 0)
        size = ctypes.c_size_t(len(text) + 1)
        status = self._c.espeak_Synth(text, size, 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if status != _OK:
            raise SynthesisError(f"espeak-ng could not speak, status {status:#x}")

    def _hear(self, wave: Any, n_samples: int, events: Any) -> int:
        if wave and n_samples > 0:
            self._sound += ctypes.string_at(wave, 2 * n_samples)
        index = 0
        while events[index].type != _END_OF_EVENTS:
            event = events[index]
            if event.type == _WORD:
                start_s = event.sample / self.rate_hz
                word = Word(position=event.text_position - 1, n_chars=event.length, start_s=start_s)
                self._words.append(word)
            index += 1
        return 0


@cache
def library() -> EspeakLibrary:
    """This process's espeak-ng; raises `EngineUnavailable` where it is missing or unfit."""
    return EspeakLibrary()


def _locate() -> tuple[str, Path]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise EngineUnavailable(
            "the package espeakng-loader is not installed; install ttsfarm[worker]"
        ) from error
    return espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())
