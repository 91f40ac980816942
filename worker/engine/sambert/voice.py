"""One loaded voice: symbols in, renderings out, every stage in between for who asks."""

import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import EngineUnavailable, SynthesisError, UnknownEmotion
from worker.engine.sambert.acoustic import (
    N_SOURCE_CHANNELS,
    AcousticInput,
    AcousticModel,
    AcousticOutput,
    PitchScale,
    Sambert,
)
from worker.engine.sambert.checkpoint import (
    acoustic_state,
    load_strictly,
    read_array,
    read_checkpoint,
    rows_of,
    vocoder_state,
)
from worker.engine.sambert.config import (
    AcousticConfig,
    VocoderConfig,
    parse_acoustic,
    parse_vocoder,
)
from worker.engine.sambert.device import find_device
from worker.engine.sambert.emotions import voice_emotions
from worker.engine.sambert.folder import VoiceFiles, fingerprint, read_yaml
from worker.engine.sambert.grades import Grade, cpu_flags, has_vnni
from worker.engine.sambert.hifigan import Folded, Generator, fold
from worker.engine.sambert.loops import Array, Loops
from worker.engine.sambert.options import SambertOptions
from worker.engine.sambert.source import SeededNoise, Source, SourceNoise
from worker.engine.sambert.strips import StripVocoder
from worker.engine.sambert.symbols import N_SPECIALS, SymbolEncoder, tables
from worker.engine.sambert.vocoder import TorchRenderer, Vocoder, VocoderInput, WindowRenderer
from worker.types import Rendering, Timing, Utterance, Wave

# Without the training set's statistics a voice's pitch is taken to vary by a quarter of its mean.
_ASSUMED_PITCH = PitchScale(scale=1.0, offset=4.0)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Everything one utterance went through; `excitation` is None without an NSF source."""

    ids: NDArray[np.int64]
    acoustic: AcousticOutput
    excitation: Array | None
    wave: Array


class SambertVoice:
    """A voice's models, loaded. Belongs to one thread at a time."""

    def __init__(self, files: VoiceFiles, options: SambertOptions, loops: Loops) -> None:
        """Raises `EngineUnavailable` when a file is missing, damaged or does not fit."""
        self.files = files
        self.revision = fingerprint(files)
        config = parse_acoustic(read_yaml(files.am_config), str(files.am_config))
        vocoder_config = parse_vocoder(read_yaml(files.voc_config), str(files.voc_config))
        _check_fit(files, config, vocoder_config)
        self.hop, self.rate_hz = vocoder_config.hop, files.rate_hz
        checkpoint = read_checkpoint(files.am_checkpoint)
        self.device = find_device(options.device)
        net, self.unused = _load_acoustic(files, config, checkpoint)
        self.emotions = voice_emotions(files.name, net.emo_tokenizer.weight, checkpoint)
        self.encoder = SymbolEncoder(
            config.speakers,
            ignore_speaker=config.has_speaker_embedding,
            max_units=options.max_units,
        )
        self.acoustic = AcousticModel(
            net.to(self.device),
            config,
            loops,
            speaker=_speaker(files, config),
            pitch_scale=_pitch_scale(files, config),
            max_frames=int(options.max_audio_s * files.rate_hz / self.hop),
        )
        self.vocoder = self._load_vocoder(vocoder_config, options)

    def render(self, utterances: Sequence[Utterance]) -> list[Rendering]:
        """One rendering each, timings counting units of their symbols.

        Raises `SynthesisError` (which `details["item"]` an utterance of the batch) or
        `UnknownEmotion`.
        """
        return [self._rendering(stages) for stages in self.stages(utterances)]

    def stages(
        self, utterances: Sequence[Utterance], noise: Mapping[int, SourceNoise] | None = None
    ) -> list[Stages]:
        """Every stage of each utterance; `noise` replaces an utterance's seeded NSF noise."""
        items = [self.encode(number, u) for number, u in enumerate(utterances)]
        outputs = self.acoustic.render(items) if items else []
        # Seeded by what is said: the same segment sounds the same in every worker and batch.
        noises: dict[int, SourceNoise] = {
            number: SeededNoise(zlib.crc32((utterance.symbols or "").encode()))
            for number, utterance in enumerate(utterances)
        }
        noises |= noise or {}
        spoken = [
            VocoderInput(mel=o.mel, excitation=self.vocoder.excitation(o.mel, noises[number]))
            for number, o in enumerate(outputs)
        ]
        return [
            Stages(ids=item.encoding.ids, acoustic=output, excitation=given.excitation, wave=wave)
            for item, output, given, wave in zip(
                items, outputs, spoken, self.vocoder.render_all(spoken), strict=True
            )
        ]

    @torch.inference_mode()
    def first_convolution(self, mel: Array) -> Array:
        """The vocoder's first convolution over mel [frames, mels]: [channels, frames]."""
        if not len(mel):
            return np.zeros((self.vocoder.config.channels, 0), dtype=np.float32)
        frames = torch.from_numpy(mel[:, : self.vocoder.config.in_channels]).to(self.device)
        out: Array = self._folded.pre(frames.t()[None, :, None])[0, :, 0].cpu().numpy()
        return out

    def warm_up(self) -> None:
        """Speak a sentence, so that everything compiled or built at first use is there."""
        self.render([Utterance(text=text, symbols=s) for text, s in sentences()[:1]])

    def encode(self, number: int, utterance: Utterance) -> AcousticInput:
        if utterance.symbols is None:
            raise SynthesisError("The engine sambert speaks symbols, and got none", item=number)
        if utterance.emotion not in self.emotions:
            raise UnknownEmotion.of(self.files.name, utterance.emotion, self.emotions)
        try:
            encoding = self.encoder.encode(utterance.symbols, utterance.emotion)
        except SynthesisError as error:
            error.details["item"] = number
            raise
        return AcousticInput(
            encoding=encoding,
            intensity=utterance.emotion_intensity,
            speed=utterance.speed,
            pitch=utterance.pitch,
        )

    def _rendering(self, stages: Stages) -> Rendering:
        ends = stages.acoustic.durations.cumsum() * self.hop / self.rate_hz
        starts = np.concatenate([[0.0], ends[:-1]])
        return Rendering(
            wave=Wave(samples=stages.wave, rate_hz=self.rate_hz),
            timings=tuple(
                Timing(start=i, end=i + 1, start_s=float(a), end_s=float(b))
                for i, (a, b) in enumerate(zip(starts, ends, strict=True))
            ),
            timed="symbols",
        )

    def _load_vocoder(self, config: VocoderConfig, options: SambertOptions) -> Vocoder:
        path = self.files.voc_checkpoint
        net = Generator(config)
        load_strictly(net, vocoder_state(read_checkpoint(path), path), path)
        kind = getattr(torch, options.half) if options.grade is Grade.FAST else torch.float32
        self._folded = folded = fold(net.to(self.device), config, kind)
        if self.device.type != "cpu":
            return StripVocoder(folded, _source(folded), self.device)
        faster = None if options.grade is Grade.FAST else self.acoustic.loops.blocks(config.slope)
        renderer: WindowRenderer = TorchRenderer(folded, faster)
        exact = Vocoder(renderer, config, _source(folded), options.chunk_frames)
        if options.grade is not Grade.INT8:
            return exact
        renderer = self._quantised(folded, exact, options)
        return Vocoder(renderer, config, exact.source, options.chunk_frames)

    def _quantised(self, folded: Folded, exact: Vocoder, options: SambertOptions) -> WindowRenderer:
        """The 8-bit generator, from the cache or built now and kept there."""
        # Only this grade needs ONNX Runtime, which the plain install lacks.
        from worker.engine.sambert.int8 import FORM, OnnxRenderer, Sample, build_int8

        vnni = has_vnni(cpu_flags())
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.cache_dir or Path(temporary)
            kind = "vnni" if vnni else "plain"
            path = folder / "int8" / f"{self.revision}-{kind}-{FORM}.onnx"
            if not path.is_file():
                channels = exact.config.in_channels
                samples = [
                    Sample(
                        mel=output.mel[:, :channels],
                        excitation=exact.excitation(output.mel, SeededNoise(0)),
                    )
                    for output in self.acoustic.render(self._calibration())
                ]
                build_int8(folded, samples, path, vnni=vnni)
            return OnnxRenderer(path, exact.config.hop, options.threads)

    def _calibration(self) -> list[AcousticInput]:
        return [AcousticInput(encoding=self.encoder.encode(s)) for _, s in sentences()]


@cache
def sentences() -> tuple[tuple[str, str], ...]:
    """Ordinary sentences as (text, symbols), to warm up and to calibrate with."""
    text = resources(__package__).joinpath("data/sentences.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("# ")]
    return tuple((row[0], row[1]) for row in rows)


def _check_fit(files: VoiceFiles, config: AcousticConfig, vocoder: VocoderConfig) -> None:
    """Raises `EngineUnavailable` when the two models are not made for each other."""
    channels = vocoder.in_channels + (N_SOURCE_CHANNELS if config.nsf_norm else 0)
    faults = []
    if config.n_mels != channels:
        faults.append(
            f"the acoustic model makes {config.n_mels} mels, the vocoder reads {channels}"
        )
    if (config.nsf_norm is None) != (vocoder.n_harmonics is None):
        faults.append("one of acoustic model and vocoder is NSF, the other is not")
    if vocoder.n_harmonics is not None and vocoder.source_rate_hz != files.rate_hz:
        faults.append(
            f"the vocoder's source has {vocoder.source_rate_hz} Hz, "
            f"configuration.json {files.rate_hz} Hz"
        )
    if files.audio_config is not None:
        audio = read_yaml(files.audio_config).get("audio_config")
        audio = audio if isinstance(audio, Mapping) else {}
        # Published hop lengths there disagree with the vocoder's own, so only the rate counts.
        rate_hz = audio.get("sampling_rate", files.rate_hz)
        if rate_hz != files.rate_hz:
            faults.append(f"audio_config has {rate_hz} Hz, configuration.json {files.rate_hz} Hz")
    if faults:
        raise EngineUnavailable(f"Voice {files.name} in {files.folder}: " + "; ".join(faults))


def _load_acoustic(
    files: VoiceFiles, config: AcousticConfig, checkpoint: Mapping[str, Any]
) -> tuple[Sambert, list[str]]:
    """The loaded network, and the names of the checkpoint's tensors that inference ignores."""
    path = files.am_checkpoint
    state, unused = acoustic_state(checkpoint, path)
    prefixes = ("sy", "tone", "syllable_flag", "ws")
    rows = [rows_of(state, f"text_encoder.{prefix}_emb.weight", path) for prefix in prefixes]
    rows.append(rows_of(state, "emo_tokenizer.weight", path))
    expected = [len(values) for values in tables().values()]
    if not config.has_speaker_embedding:
        rows.append(rows_of(state, "spk_tokenizer.weight", path))
        expected.append(len(config.speakers))
    _check_rows(rows, expected, path)
    net = Sambert(config, tuple(rows))
    load_strictly(net, state, path)
    return net, unused


def _check_rows(rows: list[int], expected: list[int], path: Path) -> None:
    """A table has a row for each value and three specials, or two in legacy models."""
    specials = {found - values for found, values in zip(rows, expected, strict=True)}
    if len(specials) != 1 or not specials <= {N_SPECIALS, N_SPECIALS - 1}:
        raise EngineUnavailable(
            f"{path} does not fit: its tables have {rows} rows, expected {expected} and 2 or 3 more"
        )


def _speaker(files: VoiceFiles, config: AcousticConfig) -> torch.Tensor | None:
    if not config.has_speaker_embedding:
        return None
    return torch.from_numpy(read_array(files.se, (1, config.speaker_units), "se.npy"))


def _pitch_scale(files: VoiceFiles, config: AcousticConfig) -> PitchScale:
    if config.nsf_norm == "mean_std":
        mean, std = read_array(files.mvn, (2, 1), "mvn.npy")[:, 0].tolist()
        if std <= 0:
            raise EngineUnavailable(f"{files.mvn}: a standard deviation of {std} Hz is impossible")
        return PitchScale(scale=std, offset=mean)
    if config.nsf_norm == "global":
        low, high = config.nsf_global_hz
        return PitchScale(scale=high - low, offset=low)
    return _ASSUMED_PITCH


def _source(folded: Folded) -> Source | None:
    if folded.merge is None:
        return None
    weight, bias = folded.merge
    return Source(
        weight=weight[0].cpu().numpy(),
        bias=float(bias[0]),
        rate_hz=folded.config.source_rate_hz,
        hop=folded.config.hop,
    )
