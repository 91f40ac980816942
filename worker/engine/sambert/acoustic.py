"""The acoustic model: table rows to mel frames, several utterances at once.

Units are encoded as one padded, masked batch; what depends on an utterance's own length (LSTMs,
durations, decoder) ends for each where it ends, so a batch gives what each alone gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

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
    """Units spread over frames, one utterance after another."""

    text: Tensor  # [all frames, projection], each utterance's rounded up to whole steps
    memory: Tensor  # [all steps, memory_units]
    steps: list[int]  # of each utterance


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
        spread = self._spread(durations, self._shifted_text(items, known), known)
        frames = self._decode(spread, durations)
        corrected = self._correct(frames, durations)
        return self._outputs(known, log_durations, durations, spread, frames, corrected)

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
        moved = F.conv1d(shift[:, None], conv.weight, padding=4)
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

    def _spread(self, durations: Sequence[Durations], text: Tensor, known: Predicted) -> Spread:
        """Units repeated over their frames, and the memory of groups of frames."""
        group, longest = self.config.outputs_per_step, text.shape[1]
        nowhere = len(durations) * longest  # the row of padding frames, which have no text
        rows, places, steps = [], [], []
        for b, each in enumerate(durations):
            unit_of = np.repeat(np.arange(len(each.frames)), each.frames)
            starts = (each.frames.cumsum() - each.frames)[unit_of]
            missing = -len(unit_of) % group
            # Padding frames keep index 0: their code is 0, 1, 0, 1, …, which training had too.
            places.append(np.pad(np.arange(len(unit_of)) - starts + 1, (0, missing)))
            rows.append(np.pad(b * longest + unit_of, (0, missing), constant_values=nowhere))
            steps.append(len(rows[-1]) // group)
        row = torch.from_numpy(np.concatenate(rows)).to(self.device)
        place = torch.from_numpy(np.concatenate(places)).float().to(self.device)
        spread = self.net.variance_adaptor.dur_position_encoder(place)
        spread += F.pad(text.flatten(0, 1), (0, 0, 0, 1))[row]
        first = row[::group]
        conditions = [part.flatten(0, 1)[first] for part in (known.speaker, known.emotion)]
        memory = torch.cat([spread.view(len(first), group * spread.shape[1]), *conditions], dim=1)
        return Spread(spread, memory, steps)

    def _decode(self, spread: Spread, durations: Sequence[Durations]) -> list[Tensor]:
        """The decoder's frames [Np, mels] of each utterance, zero from its last frame on."""
        inputs = self._project(spread.memory, spread.steps, [each.band for each in durations])
        wanted = [b for b, steps in enumerate(spread.steps) if steps]
        decoded = self._decoder([inputs[b] for b in wanted]) if wanted else []
        frames = [torch.zeros(0, self.config.n_mels, device=self.device) for _ in durations]
        for b, out in zip(wanted, decoded, strict=True):
            frames[b] = out.reshape(-1, self.config.n_mels)
            frames[b][durations[b].n_frames :] = 0
        return frames

    def _correct(self, frames: Sequence[Tensor], durations: Sequence[Durations]) -> list[Tensor]:
        """The same after the postnet."""
        wanted = [b for b, each in enumerate(durations) if each.n_frames]
        whole = [frames[b][: durations[b].n_frames] for b in wanted]
        made = self.net.mel_postnet.correct(whole, self._postnet_lstm) if wanted else []
        corrected = list(frames)
        for b, part in zip(wanted, made, strict=True):
            corrected[b] = F.pad(part, (0, 0, 0, len(frames[b]) - len(part)))
        return corrected

    def _outputs(
        self,
        known: Predicted,
        log_durations: Sequence[Array],
        durations: Sequence[Durations],
        spread: Spread,
        frames: Sequence[Tensor],
        corrected: Sequence[Tensor],
    ) -> list[AcousticOutput]:
        encoded, pitch, energy, text, memory, drawn, fixed = [
            part.cpu().numpy()
            for part in (
                known.encoded,
                known.pitch,
                known.energy,
                spread.text,
                spread.memory,
                torch.cat(list(frames)),
                torch.cat(list(corrected)),
            )
        ]
        outputs, step = [], 0
        for b, (log_duration, each) in enumerate(zip(log_durations, durations, strict=True)):
            units, steps = len(log_duration), slice(step, step + spread.steps[b])
            step = steps.stop
            group = self.config.outputs_per_step
            rows = slice(steps.start * group, steps.stop * group)
            mel = self._denormalised(fixed[rows][: each.n_frames])
            if not np.isfinite(mel).all():
                raise SynthesisError("The model makes mel frames that are no numbers", item=b)
            outputs.append(
                AcousticOutput(
                    encoder_out=encoded[b, :units],
                    pitch=pitch[b, :units],
                    energy=energy[b, :units],
                    log_duration=log_duration,
                    durations=each.frames,
                    lr_text=text[rows],
                    memory=memory[steps],
                    x_band_width=each.band,
                    dec_out=drawn[rows],
                    postnet_out=fixed[rows],
                    mel=mel,
                )
            )
        return outputs

    def _denormalised(self, frames: Array) -> Array:
        """NSF models' f0 in hertz and voicing as 0 or 1; unvoiced frames keep their f0."""
        if self.config.nsf_norm is None:
            return frames
        mel = frames.copy()
        scale, offset = np.float32(self.pitch_scale.scale), np.float32(self.pitch_scale.offset)
        mel[:, -2] = np.maximum(frames[:, -2] * scale + offset, np.float32(MIN_F0_HZ))
        mel[:, -1] = frames[:, -1] >= np.float32(VOICED_FROM)
        return mel


def _track(conv: nn.Conv1d, track: Tensor) -> Tensor:
    """A scalar track [batch, T] embedded: [batch, T, projection]."""
    out: Tensor = conv(track[:, None])
    return out.transpose(1, 2)
