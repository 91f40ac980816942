"""What a calm farm makes of an order: the same text, spoken here, one segment after the other."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.audio.encode import decode_segment, encode_segment
from shared.audio.wave import Wave
from shared.schemas import SegmentSpec
from tests.faults.orders import Order
from worker import pipeline
from worker.captions import CaptionWriter
from worker.engine.fake import FakeEngine
from worker.text.frontend import Frontend


@dataclass(frozen=True, kw_only=True)
class Calm:
    """The audio's digest and size, that of the captions where there are any, and the segments."""

    sha256: str
    size_bytes: int
    captions_sha256: str | None
    n_segments: int


class CalmRun:
    """Speaks orders without a farm; each form of each text once."""

    def __init__(self) -> None:
        self._engine = FakeEngine(sleep=lambda _: None)
        self._voice = next(v for v in self._engine.voices() if v.name == "fake")
        self._frontend = Frontend()
        self._known: dict[tuple[str, str, bool], Calm] = {}

    def of(self, order: Order) -> Calm:
        place = (order.text, order.format, order.captions)
        if place not in self._known:
            self._known[place] = self._speak(order)
        return self._known[place]

    def _speak(self, order: Order) -> Calm:
        request = order.request()
        traits = pipeline.traits_of(self._voice, symbols=False)
        plan = pipeline.plan(request, order.text, frontend=self._frontend, traits=lambda _: traits)
        specs = list(plan.segments())
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            writer, path = None, folder / "captions"
            if order.captions:
                writer = stack.enter_context(CaptionWriter("calm", path))
            waves = self._waves(specs, writer)
            audio = pipeline.assemble(waves, request, "calm", folder / "audio")
            captions = writer.finish() if writer else None
        return Calm(
            sha256=audio.sha256,
            size_bytes=audio.size_bytes,
            captions_sha256=captions.sha256 if captions else None,
            n_segments=len(specs),
        )

    def _waves(
        self, specs: list[SegmentSpec], captions: CaptionWriter | None
    ) -> Iterator[tuple[SegmentSpec, Wave]]:
        for spec in specs:
            (spoken,) = pipeline.render(self._engine, self._voice, [spec])
            assert isinstance(spoken, pipeline.Rendered), spoken
            # As a segment is stored and read again: what is joined is what the store has.
            wave, rows = decode_segment(encode_segment(spoken.wave, spoken.timings_ms))
            if captions:
                captions.add(spec, wave, rows)
            yield spec, wave


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
