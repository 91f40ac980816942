import hashlib
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.audio.join import pause_samples
from shared.errors import (
    BadAudio,
    EmptyAudio,
    EngineUnavailable,
    InvalidRequest,
    SynthesisError,
    TextRefused,
    UnknownEmotion,
    UnknownVoice,
)
from shared.schemas import AudioFormat, JobRequest, SegmentSpec
from shared.settings import Settings
from worker import pipeline
from worker.audio.edges import AFTER_S, FRAME_S
from worker.engine.fake import S_PER_CHAR, FakeEngine
from worker.pipeline import Rendered
from worker.text.frontend import Frontend
from worker.types import Rendering, Timing, Utterance, Wave
from worker.voices import Voices

REQUEST = JobRequest(voice="fake")
VOICE = FakeEngine().voices()[0]
NEWS = "国家统计局今天公布数据。全年经济增长5.2%，总体平稳！\n\n“消费回升了。”他说。"


CHINESE = replace(VOICE, language="zh-CN", emotions=("neutral", "happy"))
FRONTEND = Frontend()


def plan(text: str, request: JobRequest = REQUEST, *, symbols: bool = False) -> pipeline.Plan:
    traits = pipeline.traits_of(CHINESE, symbols=symbols)
    return pipeline.plan(request, text, frontend=FRONTEND, traits=lambda _: traits)


def specs(text: str, request: JobRequest = REQUEST) -> list[SegmentSpec]:
    return [*plan(text, request).segments()]


def outcomes(*texts: str) -> list[pipeline.Outcome]:
    return pipeline.render(FakeEngine(), VOICE, [spec(text) for text in texts])


def spec(text: str, **changes: object) -> SegmentSpec:
    plain = SegmentSpec(
        index=0,
        start=0,
        end=len(text),
        spoken=text,
        voice="fake",
        emotion="neutral",
        emotion_intensity=1.0,
        n_chars=len(text),
    )
    return replace(plain, **changes)


def wave(n_samples: int, level: float = 0.5, rate_hz: int = 16_000) -> Wave:
    return Wave(samples=np.full(n_samples, level, np.float32), rate_hz=rate_hz)


def assemble(
    path: Path, *segments: tuple[SegmentSpec, Wave], **changes: object
) -> pipeline.AudioResult:
    request = replace(REQUEST, **changes)
    return pipeline.assemble(iter(segments), request, "j1", path / "audio")


# Plan


def test_a_plan_covers_the_text_in_order() -> None:
    planned = specs(NEWS)
    assert "".join(NEWS[one.start : one.end] for one in planned) == NEWS
    assert [one.index for one in planned] == list(range(len(planned)))
    assert all(one.silence_after_ms > 0 for one in planned[:-1])
    assert all(one.n_chars == len(one.spoken) for one in planned)


def test_a_plan_carries_the_requests_emotion() -> None:
    happy = replace(REQUEST, emotion="happy", emotion_intensity=0.0)
    assert {(one.emotion, one.emotion_intensity) for one in specs(NEWS, happy)} == {("happy", 0.0)}


def test_a_plan_reports_what_it_leaves_out() -> None:
    planned = plan("今天下雨了😀。明天\x07是晴天。")
    spoken = [one.spoken for one in planned.segments()]
    assert spoken == ["今天下雨了。", "明天是晴天。"]
    assert [(one["start"], one["end"]) for one in planned.substitutions()] == [(5, 6), (9, 10)]


def test_a_plan_speaks_numbers_as_words_and_spells_symbols_where_they_are_taken() -> None:
    (one,) = plan("增长5.2%。", symbols=True).segments()
    assert one.spoken == "增长百分之五点二。"
    assert one.symbols is not None
    assert one.symbols.startswith("{z_c$tone1$s_begin$word_begin$emotion_neutral$F7}")
    (plain,) = plan("增长5.2%。").segments()
    assert plain.symbols is None


def test_markup_changes_what_the_request_asked() -> None:
    ssml = replace(REQUEST, text_type="ssml", speed=2.0)
    text = (
        "<speak>你好，今天天气不错。"
        '<emotion category="happy" intensity="1.5">太好了，我们走吧！</emotion>'
        '<prosody rate="50%">慢慢来，不着急。</prosody></speak>'
    )
    first, second, third = specs(text, ssml)
    assert (first.emotion, first.speed) == ("neutral", 2.0)
    assert (second.emotion, second.emotion_intensity) == ("happy", 1.5)
    assert third.speed < first.speed


def test_a_voice_in_markup_has_the_jobs_emotion_or_one_of_its_own() -> None:
    tender = replace(CHINESE, name="tender", emotions=("gentle",))

    def planned(inner: str) -> list[SegmentSpec]:
        request = replace(REQUEST, text_type="ssml")
        text = f'<speak><voice name="tender">{inner}</voice></speak>'
        traits = pipeline.traits_of(tender, symbols=False)
        plan = pipeline.plan(request, text, frontend=FRONTEND, traits=lambda _: traits)
        return [*plan.segments()]

    (gentle,) = planned('<emotion category="gentle">你好。</emotion>')
    assert (gentle.voice, gentle.emotion) == ("tender", "gentle")
    with pytest.raises(UnknownEmotion, match="put its text in an <emotion>") as caught:
        planned("你好。")
    assert caught.value.details == {"emotions": ["gentle"]}


def test_markup_that_is_not_read_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidRequest, match="line 1"):
        specs("<speak><magic>你好</magic></speak>", replace(REQUEST, text_type="ssml"))


def test_a_thousand_substitutions_and_more_end_in_one_row_for_the_rest() -> None:
    planned = plan("好\x07。" * 1500)
    assert len([*planned.segments()]) > 0
    rows = planned.substitutions()
    assert len(rows) == 1000
    assert "501 more places" in rows[-1]["reason"]


def test_a_plan_read_again_reports_the_same() -> None:
    planned = plan("今天下雨了😀。")
    assert [*planned.segments()] == [*planned.segments()]
    assert len(planned.substitutions()) == 1


@pytest.mark.parametrize("text", ["", "  \n", "。。。", "😀😀"])
def test_a_text_without_speech_has_no_plan(text: str) -> None:
    with pytest.raises(EmptyAudio, match=f"none of {len(text)} characters"):
        specs(text)


# Keys


def test_a_key_names_what_was_asked() -> None:
    (rendered,) = outcomes("你好")
    assert isinstance(rendered, Rendered)
    digest = rendered.digest
    assert len(bytes.fromhex(digest)) == hashlib.sha256().digest_size
    assert pipeline.segment_key("j1", digest) == f"jobs/j1/segments/{digest}.flac"
    assert pipeline.cached_key(digest, "0f") == f"segments/{digest[:2]}/{digest}-0f.flac"


def test_a_digest_changes_with_everything_that_changes_the_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = spec("你好")
    changed = [
        (VOICE, one),
        (replace(VOICE, revision="2"), one),
        (replace(VOICE, engine="another"), one),
        (replace(VOICE, name="fake-2"), one),
        (VOICE, replace(one, speed=1.5)),
        (VOICE, replace(one, pitch=1.0)),
        (VOICE, replace(one, spoken="您好")),
        (VOICE, replace(one, symbols="{n$tone3}")),
        (VOICE, replace(one, emotion="happy")),
        (VOICE, replace(one, emotion_intensity=0.5)),
    ]
    digests = {pipeline.digest_of(*asked) for asked in changed}
    monkeypatch.setattr(pipeline, "FINISH_REVISION", "another")  # of trimming and levelling
    digests.add(pipeline.digest_of(VOICE, one))
    assert len(digests) == len(changed) + 1


def test_a_digest_stays_when_only_the_assembly_differs() -> None:
    moved = spec("你好", index=4, start=9, end=11, silence_after_ms=600, volume=2.0)
    assert pipeline.digest_of(VOICE, moved) == pipeline.digest_of(VOICE, spec("你好"))


# Render


def test_segments_come_out_in_order_with_their_timings() -> None:
    first, second = outcomes("你好", "世界和平")
    assert isinstance(first, Rendered)
    assert isinstance(second, Rendered)
    assert first.wave.duration_s == pytest.approx(2 * S_PER_CHAR + AFTER_S, abs=FRAME_S)
    assert first.timings_ms == ((0, 1, 0, 80), (1, 2, 80, 160))
    assert len(second.timings_ms) == 4


def test_segments_come_out_trimmed_and_at_an_even_level() -> None:
    class Uneven(FakeEngine):
        def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
            return [
                replace(one, wave=padded(one.wave, gain=0.6 * (1 + i)))
                for i, one in enumerate(super().render(voice, utterances))
            ]

    def padded(sound: Wave, gain: float) -> Wave:
        silence = np.zeros(8_000, np.float32)
        samples = np.concatenate([silence, gain * sound.samples, silence])
        return Wave(samples=samples.astype(np.float32), rate_hz=sound.rate_hz)

    outcomes = pipeline.render(Uneven(), VOICE, [spec("今天天气很好"), spec("今天天气很好")])
    quiet, loud = (outcome for outcome in outcomes if isinstance(outcome, Rendered))
    assert len(quiet.wave.samples) == len(loud.wave.samples)
    assert quiet.wave.duration_s < 6 * S_PER_CHAR + 0.1
    assert quiet.timings_ms == loud.timings_ms
    np.testing.assert_allclose(quiet.wave.samples, loud.wave.samples, atol=1e-3)


def test_what_a_model_times_by_symbol_is_stored_by_character() -> None:
    class Symbolic(FakeEngine):
        takes_symbols = True

        def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
            (one,) = super().render(voice, utterances)
            n_units = len((utterances[0].symbols or "").split(" "))
            each_s = one.wave.duration_s / n_units
            rows = (
                Timing(start=i, end=i + 1, start_s=i * each_s, end_s=(i + 1) * each_s)
                for i in range(n_units)
            )
            return [replace(one, timings=tuple(rows), timed="symbols")]

    (asked,) = plan("2026年好。", symbols=True).segments()
    (outcome,) = pipeline.render(Symbolic(), VOICE, [asked])
    assert isinstance(outcome, Rendered)
    assert [asked.spoken[start:end] for start, end, _, _ in outcome.timings_ms] == [*"二零二六年好"]


def test_a_bad_segment_fails_alone() -> None:
    texts = [
        "你好",
        "坏[[fail]]了",
        "世界",
        "静[[silent]]音",
        "再见",
        "拒[[refuse]]绝",
        "好吧",
        "[[nan]]数",
    ]
    kinds = [type(outcome) for outcome in outcomes(*texts)]
    assert kinds == [
        Rendered,
        SynthesisError,
        Rendered,
        BadAudio,
        Rendered,
        TextRefused,
        Rendered,
        BadAudio,
    ]


def test_a_segment_that_asks_for_what_a_voice_lacks_fails_alone() -> None:
    class Calm(FakeEngine):
        batch_size = 8

        def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
            if any(one.emotion != "neutral" for one in utterances):
                raise UnknownEmotion
            return super().render(voice, utterances)

    found = pipeline.render(Calm(), VOICE, [spec("你好"), spec("坏", emotion="sad"), spec("好")])
    assert [type(one) for one in found] == [Rendered, UnknownEmotion, Rendered]


def test_a_segment_in_a_voice_that_is_not_here_fails_alone() -> None:
    asked = [spec("你好"), spec("谁", voice="nobody"), spec("再见")]
    found = pipeline.speak(Voices(Settings(voices="fake")), asked)
    assert [type(one) for one in found] == [Rendered, UnknownVoice, Rendered]


def test_more_segments_than_a_batch_are_all_rendered() -> None:
    texts = ["字" * n for n in range(1, 20)]
    lengths = [o.wave.duration_s for o in outcomes(*texts) if isinstance(o, Rendered)]
    expected = [n * S_PER_CHAR + AFTER_S for n in range(1, 20)]
    assert lengths == pytest.approx(expected, abs=FRAME_S)


def test_speed_pitch_and_emotion_reach_the_engine() -> None:
    said = pipeline.utterance(
        spec("好", emotion="sad", emotion_intensity=0.5, speed=2.0, pitch=3.0)
    )
    assert said == Utterance(text="好", emotion="sad", emotion_intensity=0.5, speed=2.0, pitch=3.0)


def test_an_engine_that_is_unfit_is_no_segments_fault() -> None:
    class Broken(FakeEngine):
        def render(self, voice: str, utterances: Sequence[Utterance]) -> list[Rendering]:
            raise EngineUnavailable("the model is gone")

    with pytest.raises(EngineUnavailable, match="the model is gone"):
        pipeline.render(Broken(), VOICE, [spec("你好")])


# Assemble


def test_the_file_is_as_long_as_segments_and_pauses(tmp_path: Path) -> None:
    audio = assemble(
        tmp_path,
        (spec("a", silence_before_ms=50, silence_after_ms=333), wave(1600)),
        (spec("b"), wave(800)),
    )
    n_samples = 1600 + 800 + pause_samples(50, 16_000) + pause_samples(333, 16_000)
    assert soundfile.info(tmp_path / "audio").frames == n_samples
    assert audio.duration_ms == round(n_samples / 16)
    assert audio.key == f"jobs/j1/audio-{audio.sha256[:16]}.wav"
    assert (audio.format, audio.sample_rate_hz) == ("wav", 16_000)
    data = (tmp_path / "audio").read_bytes()
    assert (audio.size_bytes, audio.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("audio_format", "asked_hz", "expected_hz"),
    [("wav", None, 22_050), ("opus", None, 24_000), ("mp3", 8_000, 8_000), ("wav", 44_100, 44_100)],
)
def test_the_rate_is_the_one_asked_or_the_next_the_format_has(
    audio_format: AudioFormat, asked_hz: int | None, expected_hz: int, tmp_path: Path
) -> None:
    sound = wave(22_050, rate_hz=22_050)
    audio = assemble(tmp_path, (spec("a"), sound), format=audio_format, sample_rate_hz=asked_hz)
    assert audio.sample_rate_hz == soundfile.info(tmp_path / "audio").samplerate == expected_hz
    assert audio.duration_ms == pytest.approx(1000, abs=1)


def test_volume_is_applied(tmp_path: Path) -> None:
    assemble(tmp_path, (spec("a", volume=0.5), wave(16_000)))
    samples, _ = soundfile.read(tmp_path / "audio")
    assert samples[8_000] == pytest.approx(0.25, abs=1e-4)


def test_segments_are_read_while_the_file_is_written(tmp_path: Path) -> None:
    path, sizes = tmp_path / "audio", list[int]()

    def segments() -> Iterator[tuple[SegmentSpec, Wave]]:
        for _ in range(5):
            sizes.append(path.stat().st_size if path.exists() else 0)
            yield spec("a"), wave(100_000)

    pipeline.assemble(segments(), REQUEST, "j1", path)
    assert sizes == sorted(sizes)
    assert 0 < sizes[2] < sizes[4]


def test_a_job_without_segments_has_no_audio(tmp_path: Path) -> None:
    with pytest.raises(EmptyAudio, match="no segments"):
        assemble(tmp_path)


def test_a_paragraph_of_news_becomes_a_wav_that_speaks(tmp_path: Path) -> None:
    voices = Voices(Settings(voices="espeak-zh"))
    voice = voices.voice("espeak-zh")
    request = replace(REQUEST, voice="espeak-zh")
    planned = specs(NEWS, request)
    rendered = pipeline.render(voices.engine("espeak-zh"), voice, planned)
    waves = [outcome.wave for outcome in rendered if isinstance(outcome, Rendered)]
    path = tmp_path / "news.wav"
    audio = pipeline.assemble(iter(zip(planned, waves, strict=True)), request, "j1", path)
    samples, rate_hz = soundfile.read(path)
    assert rate_hz == 22_050
    assert 8_000 < audio.duration_ms < 20_000
    assert np.abs(samples).max() > 0.3


def test_the_memory_of_a_plan_does_not_grow_with_the_text() -> None:
    def book(n_sentences: int) -> str:
        return "".join(f"这是第{i % 50}段，和别的都不相同。" for i in range(n_sentences))

    def peak_bytes(n_sentences: int) -> int:
        planned = plan(book(n_sentences))
        tracemalloc.start()
        try:
            assert sum(1 for _ in planned.segments()) == n_sentences
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert len(specs(book(50))) == 50  # dictionaries are loaded, every word was met
    assert peak_bytes(1500) < peak_bytes(500) + 400_000  # the specs alone would take more
