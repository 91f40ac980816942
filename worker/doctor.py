"""What keeps this machine from speaking, and how to mend it."""

from collections.abc import Iterator
from importlib import import_module

from shared.checks import (
    Check,
    check_disk,
    check_python,
    check_queue_libraries,
    check_redis,
    check_storage,
)
from shared.errors import FarmError
from shared.settings import Settings

AUDIO_LIBRARIES = ("numpy", "soundfile", "soxr")


def examine(farm: Settings) -> Iterator[Check]:
    """Every check, cheap and local ones first; speaking comes last."""
    yield check_python()
    yield from check_queue_libraries()
    yield check_disk(farm.storage_dir)
    libraries = [_check_library(name) for name in AUDIO_LIBRARIES]
    yield from libraries
    yield from check_redis(farm.redis_url.get_secret_value())
    yield check_storage(farm)
    if all(check.ok for check in libraries):
        yield _check_voices(farm)


def _check_library(name: str) -> Check:
    """Whether a library loads, its own shared objects included."""
    try:
        found = str(import_module(name).__version__)
    except (ImportError, OSError) as error:
        mend = "Install the versions of requirements/farm.txt."
        return Check(name=name, ok=False, found=f"does not load: {error}", mend=mend)
    return Check(name=name, ok=True, found=found)


def _check_voices(farm: Settings) -> Check:
    """Whether each voice of `TTSFARM_VOICES` loads and speaks its warm-up sentence."""
    from worker.voices import Voices  # loads what the checks before have found to be there

    try:
        spoken = ", ".join(voice.name for voice in Voices(farm).warm())
    except FarmError as error:
        mend = "Mend what it names, or offer other voices with TTSFARM_VOICES."
        return Check(name="voices", ok=False, found=error.message, mend=mend)
    return Check(name="voices", ok=True, found=f"{spoken} speak")
