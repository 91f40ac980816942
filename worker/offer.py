"""The names of the voices a worker offers, found out in a process that ends.

Celery's parent needs the names for its queues, but must not load an engine: threads and devices
that a library opens do not survive the fork of the child that renders.
"""

import multiprocessing
from multiprocessing.connection import Connection

from shared.errors import EngineUnavailable, FarmError
from shared.settings import Settings
from worker.voices import Voices


def offered_names(settings: Settings) -> tuple[str, ...]:
    """What `Voices(settings).names()` answers; raises `EngineUnavailable` as it does."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    asker = context.Process(target=_answer, args=(settings, theirs))
    asker.start()
    theirs.close()
    try:
        names, trouble = ours.recv()
    except EOFError:
        asker.join()
        raise EngineUnavailable(
            f"the process that looks up the voices {settings.voices!r} ended with exit code "
            f"{asker.exitcode}; `ttsfarm-worker doctor` tries each engine"
        ) from None
    finally:
        asker.join()
        ours.close()
    if trouble:
        raise EngineUnavailable(trouble)
    return tuple(names)


def _answer(settings: Settings, answers: Connection) -> None:
    try:
        answers.send((Voices(settings).names(), None))
    except FarmError as error:
        answers.send(((), error.message))
