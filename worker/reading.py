"""Reading ahead: what takes long to fetch is fetched by threads while what came before is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

READERS = 4
AHEAD = 12  # items fetched and not used yet; what is held at most


@contextmanager
def read_ahead(
    items: Iterable[T], fetch: Callable[[T], R]
) -> Iterator[Iterator[tuple[T, Callable[[], R]]]]:
    """Each item in order with a call that answers its `fetch`, or raises what that raised.

    What is not used when the block ends is not fetched any more.
    """
    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as readers:

        def fetched() -> Iterator[tuple[T, Callable[[], R]]]:
            waiting = deque[tuple[T, Callable[[], R]]]()
            for item in items:
                waiting.append((item, readers.submit(fetch, item).result))
                if len(waiting) > AHEAD:
                    yield waiting.popleft()
            yield from waiting

        try:
            yield fetched()
        finally:
            readers.shutdown(cancel_futures=True)
