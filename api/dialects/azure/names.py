"""The farm's voice behind a name of Azure's."""

import re
from collections.abc import Callable
from typing import Final

from api.requests import describe
from api.voices import Found, VoiceDirectory
from shared.errors import RequestError, UnknownVoice

FindVoice = Callable[[str | None], Found]

# `zh-CN-XiaoxiaoNeural`, `zh-CN-liaoning-XiaobeiNeural`, `en-US-Ava:DragonHDLatestNeural`
_NAME: Final = re.compile(r"([a-z]{2,3})-[A-Za-z]{2,4}-[A-Za-z][A-Za-z0-9:-]*\Z")
_LONG_NAME: Final = re.compile(
    r"Microsoft Server Speech Text to Speech Voice \(([\w-]+), ?([\w:-]+)\)\Z"
)
_ANY_LANGUAGE: Final = "und"


def find_voice(name: str | None, voices: VoiceDirectory) -> Found:
    """The voice or alias of this name, the default one for None.

    A name of Azure's that the farm does not offer, as a voice or by `ttsfarm alias`, stands for
    one that speaks its language, the default voice first. Raises `UnknownVoice`.
    """
    long = _LONG_NAME.match(name or "")
    asked = f"{long[1]}-{long[2]}" if long else name
    try:
        return voices.find(asked)
    except UnknownVoice:
        theirs = _NAME.match(asked or "")
        if not theirs:
            raise
        language = theirs[1]
    offer, default = voices.offer, voices.default
    names = [default] if default else []
    names += sorted(offer.voices, key=lambda one: offer.voices[one].ready_workers == 0)
    for one in names:
        spoken = offer.targets(one)[0][0].voice.language.partition("-")[0]
        if spoken in (language, _ANY_LANGUAGE):
            return voices.find(one)
    raise UnknownVoice(
        f"No voice of the farm speaks {language!r}, as {describe('voice', asked)} does; known: "
        f"{', '.join(offer.names)}.",
        voices=offer.names,
    )


def remembered(voices: VoiceDirectory) -> FindVoice:
    """`find_voice` that looks a name up once: a body may hold one ten thousand times."""
    known: dict[str | None, Found | RequestError] = {}

    def find(name: str | None) -> Found:
        if name not in known:
            try:
                known[name] = find_voice(name, voices)
            except RequestError as error:
                known[name] = error
        found = known[name]
        if isinstance(found, RequestError):
            raise found
        return found

    return find
