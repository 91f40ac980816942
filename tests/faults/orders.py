"""What callers ask for, chosen by a seed."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from shared.schemas import JobRequest

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "pcm")
WORDS = (
    "春天",
    "列车",
    "图书馆",
    "海边",
    "雨声",
    "老师",
    "晚饭",
    "星星",
    "邮局",
    "花园",
    "山路",
    "音乐",
)
DOES = ("慢慢地走过来", "在窗外等着", "让人想起从前", "今天特别安静", "又一次开始了", "比昨天更近")


@dataclass(frozen=True, kw_only=True)
class Order:
    """One caller's wish; `key` is its idempotency key. `ends` are the states it may end in."""

    key: str
    text: str
    format: str = "wav"
    captions: bool = False
    webhook: bool = False
    priority: str = "normal"
    cache: bool = True
    ends: frozenset[str] = frozenset({"succeeded"})
    error: str | None = None  # the code of one that fails
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, run: str, webhook_url: str) -> dict[str, Any]:
        """The request as it is sent; the run's name finds the job again."""
        body: dict[str, Any] = {
            "text": self.text,
            "voice": "fake",
            "format": self.format,
            "captions": self.captions,
            "priority": self.priority,
            "cache": self.cache,
            "metadata": {"run": run, "key": self.key},
        }
        return {**body, "webhook_url": webhook_url} if self.webhook else body

    def request(self) -> JobRequest:
        """The request as a worker gets it."""
        return JobRequest(voice="fake", format=self.format, captions=self.captions)  # type: ignore[arg-type]


def sentence(rng: Random, n: int) -> str:
    """About twenty characters that no other `n` of the run has."""
    return f"第{n}句里，{rng.choice(WORDS)}和{rng.choice(WORDS)}{rng.choice(DOES)}。"


def book(rng: Random, name: str, n_sentences: int) -> str:
    """A text in which no sentence stands twice."""
    return "".join(f"{name}{sentence(rng, i)}" for i in range(n_sentences))


def order(rng: Random, key: str, *, webhook: bool = False, most: int = 3, **fixed: Any) -> Order:
    """A short job in any form; some share their sentences, so that the cache is part of it."""
    own = key if rng.random() < 0.8 else "共"
    wish: dict[str, Any] = {
        "text": book(rng, own, rng.randint(1, most)),
        "format": rng.choice(FORMATS),
        "captions": rng.random() < 0.4,
        "webhook": webhook and rng.random() < 0.7,
        "priority": rng.choice(("high", "normal", "normal", "low")),
        "cache": rng.random() < 0.7,
    }
    return Order(key=key, **{**wish, **fixed})
