"""Joins hours of audio in this process and prints its memory on the way, as JSON lines."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shared.audio.encode import decode_segment, encode_segment
from shared.schemas import JobRequest, SegmentSpec
from worker import pipeline
from worker.engine.fake import FakeEngine
from worker.metrics import resident_bytes
from worker.types import Utterance, Wave

EVERY_S = 1800.0
TEXT = "这是一句话，它有自己的内容，不和别的句子相同。"


def segments(hours: float) -> Iterator[tuple[SegmentSpec, Wave]]:
    """One stored segment decoded again and again, as an assembly reads many."""
    (rendering,) = FakeEngine().render("fake", [Utterance(text=TEXT)])
    data = encode_segment(rendering.wave)
    spec = SegmentSpec(
        index=0, start=0, end=len(TEXT), spoken=TEXT, voice="fake", emotion="neutral",
        emotion_intensity=1.0, silence_after_ms=300, n_chars=len(TEXT),
    )  # fmt: skip
    each_s = rendering.wave.duration_s + 0.3
    started_s, next_s = time.monotonic(), 0.0
    for i in range(round(hours * 3600 / each_s)):
        if i * each_s >= next_s:
            told = {"audio_h": round(i * each_s / 3600, 2), "rss_mb": resident_bytes() >> 20}
            print(json.dumps(told | {"took_s": round(time.monotonic() - started_s, 1)}))
            next_s += EVERY_S
        yield spec, decode_segment(data)[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ttsfarm-bench-") as directory:
        request = JobRequest(voice="fake")
        pipeline.assemble(segments(float(sys.argv[1])), request, "bench", Path(directory) / "audio")
