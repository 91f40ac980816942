"""The acoustic model: table rows to mel frames, several utterances at once.

Units are encoded as one padded, masked batch; what depends on an utterance's own length (LSTMs,
durations, memory, postnet) runs for each alone, so a batch gives what each alone gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.errors import SynthesisError, TextRefused
from worker.engine.sambert.adaptor import Durations, VarianceAdaptor, round_durations
from worker.engine.sambert.config import AcousticConfig
from worker.engine.sambert.decoder import MelDecoder, MemoryProjection, pack_decoder
from worker.engine.sambert.encoder import TextEncoder
from worker.engine.sambert.loops import Array, Loops
from worker.engine.sambert.postnet import MelPostnet
from worker.engine.sambert.symbols import Encoding

NEUTRAL_ROW = 1
VOICED_FROM = 0.6
MIN_F0_HZ = 30.0
N_SOURCE_CHANNELS = 2  # f0 and voicing, the last channels of an NSF model's mel


@dataclass(frozen=True, kw_only=True)
class PitchScale:
    """How the model normalises pitch: `hz = value * scale + offset`."""

    scale: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class AcousticInput:
    """One utterance. `speed` is a factor, `pitch` semitones, `intensity` 0 to 2."""

    encoding: Encoding
    intensity: float = 1.0
    speed: float = 1.0
    pitch: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AcousticOutput:
    """Every stage of one utterance; T units, N frames, Np frames rounded up to whole steps."""

    encoder_out: Array  # [T, projection]
    pitch: Array  # [T]
    energy: Array  # [T]
    log_duration: Array  # [T]
    durations: NDArray[np.int64]  # [T], frames
    lr_text: Array  # [Np, projection]
    memory: Array  # [steps, memory_units]
    x_band_width: int
    dec_out: Array  # [Np, mels]
    postnet_out: Array  # [Np, mels]
    mel: Array  # [N, mels], f0 in hertz and voicing 0 or 1 in NSF models

    @property
    def n_frames(self) -> int:
        return len(self.mel)


class Predicted(NamedTuple):
    """What is known of a batch's units: tensors [batch, T, ...]."""

    encoded: Tensor
    pitch: Tensor
    energy: Tensor
    text: Tensor
    speaker: Tensor
    emotion: Tensor


class Spread(NamedTuple):
    """One utterance's units spread over frames."""

    text: Tensor  # [Np, projection]
    memory: Tensor  # [steps, memory_units]


class Sambert(nn.Module):
    """The checkpoint's module tree; `rows` gives the sizes of its six tables."""

    def __init__(self, config: AcousticConfig, rows: tuple[int, ...]) -> None:
        super().__init__()
        self.text_encoder = TextEncoder(config, rows)
        if not config.has_speaker_embedding:
            self.spk_tokenizer = nn.Embedding(rows[5], config.speaker_units)
        self.emo_tokenizer = nn.Embedding(rows[4], config.emotion_units)
        self.variance_adaptor = VarianceAdaptor(config)
        self.mel_decoder = MelDecoder(config)
        self.mel_postnet = MelPostnet(config)


class AcousticModel:
    """Runs a loaded `Sambert`.

    `speaker` is the speaker embedding [1, speaker_units] of models that have one. `pitch_scale`
    turns semitones into the model's own unit of pitch. Runs where `net` is. Not safe for two
    threads at once.
    """

    def __init__(
        self,
        net: Sambert,
        config: AcousticConfig,
        loops: Loops,
        *,
        speaker: Tensor | None,
        pitch_scale: PitchScale,
        max_frames: int,
    ) -> None:
        self.net, self.config, self.loops = net.eval(), config, loops
        self.pitch_scale, self.max_frames = pitch_scale, max_frames
        self.device = net.emo_tokenizer.weight.device
        self.speaker = None if speaker is None else speaker.to(self.device)
        adaptor, decoder = net.variance_adaptor, net.mel_decoder.mel_dec
        with torch.inference_mode():
            self._durations = loops.durations(adaptor.duration_predictor.pack())
            self._decoder = loops.decoder(pack_decoder(decoder, config))
            self._project = MemoryProjection(decoder, config)
        self._pitch_lstm = loops.lstm(adaptor.pitch_predictor.blstm)
        self._energy_lstm = loops.lstm(adaptor.energy_predictor.blstm)
        self._postnet_lstm = loops.lstm(net.mel_postnet.lstm)
        for part in (net.text_encoder, adaptor.pitch_predictor, adaptor.energy_predictor):
            loops.settle(part)
        loops.settle(net.mel_postnet)

    @torch.inference_mode()
    def render(self, items: Sequence[AcousticInput]) -> list[AcousticOutput]:
        """Every stage of each utterance, in order.

        Raises `TextRefused` when an utterance's predicted length is over the limit, and
        `SynthesisError` when a prediction is no number; `details["item"]` says which.
        """
        lengths = [item.encoding.n_units for item in items]
        known = self._predict(items, lengths)
        conditions = torch.cat([known.text, known.speaker, known.emotion], dim=2)
        gates = self.net.variance_adaptor.duration_predictor.project(conditions).cpu().numpy()
        log_durations = self._durations([gates[b, :n] for b, n in enumerate(lengths)])
        durations = [self._round(b, log_durations[b], item.speed) for b, item in enumerate(items)]
        text = self._shifted_text(items, known)
        spreads = [
            self._spread(d, text[b, :n], known.speaker[b, :n], known.emotion[b, :n])
            for b, (d, n) in enumerate(zip(durations, lengths, strict=True))
        ]
        frames = self._decode(spreads, durations)
        return [
            self._finish(known, b, log_durations[b], durations[b], spreads[b], frames[b])
            for b in range(len(items))
        ]

    def _predict(self, items: Sequence[AcousticInput], lengths: list[int]) -> Predicted:
        ids = torch.zeros(6, len(items), max(lengths), dtype=torch.int64)
        mask = torch.zeros(len(items), max(lengths), 1)
        for b, (item, n) in enumerate(zip(items, lengths, strict=True)):
            ids[:, b, :n] = torch.from_numpy(item.encoding.ids[:, :n])
            mask[b, :n] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        encoded = self.net.text_encoder(ids, mask) * mask
        intensity = torch.tensor([item.intensity for item in items], device=self.device)
        emotion = self._emotion(ids[4], intensity)
        speaker = self._speaker(ids[5])
        condition = torch.cat([encoded, speaker, emotion], dim=2)
        adaptor = self.net.variance_adaptor
        pitch = adaptor.pitch_predictor.predict(condition, mask, lengths, self._pitch_lstm)
        energy = adaptor.energy_predictor.predict(condition, mask, lengths, self._energy_lstm)
        text = encoded + _track(adaptor.pitch_emb, pitch) + _track(adaptor.energy_emb, energy)
        return Predicted(encoded, pitch, energy, text, speaker, emotion)

    def _speaker(self, rows: Tensor) -> Tensor:
        if self.speaker is None:
            table: Tensor = self.net.spk_tokenizer(rows)
            return table
        return self.speaker.expand(*rows.shape, -1)

    def _emotion(self, rows: Tensor, intensity: Tensor) -> Tensor:
        """Emotion vectors, moved along the line from neutral: 0 is neutral, 2 is twice as far.

        Breaks have no emotion and stay as they are.
        """
        table: Tensor = self.net.emo_tokenizer.weight
        vectors = table[rows]
        strength = torch.where(rows >= NEUTRAL_ROW, intensity[:, None] - 1, 0.0)
        return vectors + strength[:, :, None] * (vectors - table[NEUTRAL_ROW])

    def _shifted_text(self, items: Sequence[AcousticInput], known: Predicted) -> Tensor:
        """The units' text with the pitch track moved by each utterance's semitones.

        Durations were predicted from the unmoved track, so a shift keeps the timing.
        """
        if not any(item.pitch for item in items):
            return known.text
        factors = torch.tensor([2 ** (item.pitch / 12) for item in items], device=self.device)
        centred = known.pitch + self.pitch_scale.offset / self.pitch_scale.scale
        shift = (factors[:, None] - 1) * centred
        for b, item in enumerate(items):
            shift[b, item.encoding.n_units :] = 0
        # The embedding is linear but for its bias, which the unmoved track already added.
        conv = self.net.variance_adaptor.pitch_emb
        moved = torch.nn.functional.conv1d(shift[:, None], conv.weight, padding=4)
        return known.text + moved.transpose(1, 2)

    def _round(self, item: int, log_duration: Array, speed: float) -> Durations:
        if not np.isfinite(log_duration).all():
            raise SynthesisError("The model predicts durations that are no numbers", item=item)
        durations = round_durations(log_duration, speed, self.config.outputs_per_step)
        if durations.n_frames > self.max_frames:
            raise TextRefused(
                f"The segment would last {durations.n_frames} frames, the limit is "
                f"{self.max_frames}; split the text into shorter sentences",
                item=item,
            )
        return durations

    def _spread(
        self, durations: Durations, text: Tensor, speaker: Tensor, emotion: Tensor
    ) -> Spread:
        """Units repeated over their frames, and the memory of groups of frames."""
        group = self.config.outputs_per_step
        n_frames = durations.n_frames
        steps = -(-n_frames // group)
        reps = torch.from_numpy(durations.frames)
        unit_of = torch.repeat_interleave(torch.arange(len(reps)), reps)
        starts = (reps.cumsum(0) - reps)[unit_of]
        # Padding frames keep index 0: their code is 0, 1, 0, 1, …, which the model was trained on.
        index = torch.zeros(steps * group)
        index[:n_frames] = (torch.arange(n_frames) - starts + 1).float()
        spread = self.net.variance_adaptor.dur_position_encoder(index.to(self.device))
        spread[:n_frames] += text[unit_of.to(self.device)]  # [Np, projection]
        first = unit_of[::group].to(self.device)
        memory = torch.cat(
            [spread.reshape(steps, group * spread.shape[1]), speaker[first], emotion[first]], dim=1
        )
        return Spread(spread, memory)

    def _decode(self, spreads: list[Spread], durations: list[Durations]) -> list[Tensor]:
        """The decoder's frames [Np, mels] of each utterance, zero from its last frame on."""
        wanted = [b for b, spread in enumerate(spreads) if len(spread.memory)]
        inputs = [self._project(spreads[b].memory, durations[b].band) for b in wanted]
        decoded = self._decoder(inputs) if wanted else []
        frames = [torch.zeros(0, self.config.n_mels, device=self.device) for _ in spreads]
        for b, out in zip(wanted, decoded, strict=True):
            frames[b] = out.reshape(-1, self.config.n_mels)
            frames[b][durations[b].n_frames :] = 0
        return frames

    def _finish(
        self,
        known: Predicted,
        item: int,
        log_duration: Array,
        durations: Durations,
        spread: Spread,
        frames: Tensor,
    ) -> AcousticOutput:
        units, n_frames = len(log_duration), durations.n_frames
        mask = torch.zeros(len(frames), 1, device=self.device)
        mask[:n_frames] = 1
        corrected = frames
        if n_frames:
            corrected = self.net.mel_postnet.correct(frames, mask, self._postnet_lstm)
        mel = self._denormalised(corrected[:n_frames])
        if not mel.isfinite().all():
            raise SynthesisError("The model makes mel frames that are no numbers", item=item)
        return AcousticOutput(
            encoder_out=known.encoded[item, :units].cpu().numpy(),
            pitch=known.pitch[item, :units].cpu().numpy(),
            energy=known.energy[item, :units].cpu().numpy(),
            log_duration=log_duration,
            durations=durations.frames,
            lr_text=spread.text.cpu().numpy(),
            memory=spread.memory.cpu().numpy(),
            x_band_width=durations.band,
            dec_out=frames.cpu().numpy(),
            postnet_out=corrected.cpu().numpy(),
            mel=mel.cpu().numpy(),
        )

    def _denormalised(self, frames: Tensor) -> Tensor:
        """NSF models' f0 in hertz and voicing as 0 or 1; unvoiced frames keep their f0."""
        if self.config.nsf_norm is None:
            return frames
        mel = frames.clone()
        f0 = frames[:, -2] * self.pitch_scale.scale + self.pitch_scale.offset
        mel[:, -2] = f0.clamp(min=MIN_F0_HZ)
        mel[:, -1] = (frames[:, -1] >= VOICED_FROM).float()
        return mel


def _track(conv: nn.Conv1d, track: Tensor) -> Tensor:
    """A scalar track [batch, T] embedded: [batch, T, projection]."""
    out: Tensor = conv(track[:, None])
    return out.transpose(1, 2)
