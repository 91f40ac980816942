"""Makes a Sambert-HifiGAN model folder with random weights in ModelScope's layout.

`python -m tests.golden.make_voice DIR [--size tiny|full]`. The weights are seeded; the duration
head is scaled until units last about as long as speech does, and the last convolution until the
sound is as loud as speech, so what reads the audio finds lengths and levels it may expect.
"""

import argparse
import json
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from worker.engine.sambert.acoustic import AcousticInput, AcousticModel, PitchScale, Sambert
from worker.engine.sambert.config import AcousticConfig, parse_acoustic, parse_vocoder
from worker.engine.sambert.eager import EagerLoops
from worker.engine.sambert.encoder import position_code
from worker.engine.sambert.hifigan import Generator, fold
from worker.engine.sambert.symbols import N_SPECIALS, SymbolEncoder, emotions, tables
from worker.engine.sambert.vocoder import TorchRenderer, Vocoder
from worker.engine.sambert.voice import sentences

SPEAKERS = "F7,F74,FBYN,FRXL,M7,xiaoyu"
RATE_HZ = 16_000
LOG_DURATION = (log(7.8), 0.42)  # mean and deviation of log(1 + frames) over units
LOUDNESS = 0.1  # deviation of the samples


@dataclass(frozen=True, kw_only=True)
class Size:
    """The two models' parameters, by their names in the YAML files."""

    acoustic: dict[str, Any]
    vocoder: dict[str, Any]


FULL = Size(
    acoustic={
        "max_len": 800,
        "embedding_dim": 512,
        "encoder_num_layers": 8,
        "encoder_num_heads": 8,
        "encoder_num_units": 128,
        "encoder_ffn_inner_dim": 1024,
        "encoder_projection_units": 32,
        "speaker_units": 32,
        "emotion_units": 32,
        "predictor_filter_size": 41,
        "predictor_fsmn_num_layers": 3,
        "predictor_num_memory_units": 128,
        "predictor_ffn_inner_dim": 256,
        "predictor_shift": 0,
        "predictor_lstm_units": 128,
        "dur_pred_prenet_units": [128, 128],
        "dur_pred_lstm_units": 128,
        "decoder_prenet_units": [256, 256],
        "decoder_num_layers": 12,
        "decoder_num_heads": 8,
        "decoder_num_units": 128,
        "decoder_ffn_inner_dim": 1024,
        "outputs_per_step": 3,
        "num_mels": 80,
        "postnet_filter_size": 41,
        "postnet_fsmn_num_layers": 4,
        "postnet_num_memory_units": 256,
        "postnet_ffn_inner_dim": 512,
        "postnet_shift": 17,
        "postnet_lstm_units": 128,
        "MAS": False,
    },
    vocoder={
        "in_channels": 80,
        "out_channels": 1,
        "channels": 256,
        "kernel_size": 7,
        "upsample_scales": [10, 5, 2, 2],
        "upsample_kernal_sizes": [20, 11, 4, 4],
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilations": [[1, 3, 5, 7]] * 3,
        "causal": False,
        "nonlinear_activation_params": {"negative_slope": 0.1},
    },
)
TINY = Size(
    acoustic=FULL.acoustic
    | {
        "max_len": 60,
        "embedding_dim": 32,
        "encoder_num_layers": 2,
        "encoder_num_heads": 2,
        "encoder_num_units": 16,
        "encoder_ffn_inner_dim": 32,
        "encoder_projection_units": 8,
        "speaker_units": 4,
        "emotion_units": 4,
        "predictor_fsmn_num_layers": 2,
        "predictor_num_memory_units": 8,
        "predictor_ffn_inner_dim": 16,
        "predictor_lstm_units": 8,
        "dur_pred_prenet_units": [8, 8],
        "dur_pred_lstm_units": 8,
        "decoder_prenet_units": [16, 16],
        "decoder_num_layers": 2,
        "decoder_num_heads": 2,
        "decoder_num_units": 16,
        "decoder_ffn_inner_dim": 32,
        "num_mels": 16,
        "postnet_fsmn_num_layers": 2,
        "postnet_num_memory_units": 16,
        "postnet_ffn_inner_dim": 32,
        "postnet_lstm_units": 8,
    },
    vocoder=FULL.vocoder
    | {
        "in_channels": 16,
        "channels": 32,
        "resblock_kernel_sizes": [3, 5],
        "resblock_dilations": [[1, 3]] * 2,
    },
)
SIZES = {"tiny": TINY, "full": FULL}


def make_voice(
    folder: Path,
    name: str = "zhitian_emo",
    *,
    size: Size = TINY,
    seed: int = 1,
    trained: tuple[str, ...] = (),
) -> Path:
    """Write the model folder and return it.

    With `trained`, the checkpoint keeps an optimiser's state in which only these emotions moved.
    """
    torch.manual_seed(seed)
    acoustic = {
        "model_type": "sambert",
        "Model": {"KanTtsSAMBERT": {"params": size.acoustic}},
        "linguistic_unit": {
            "cleaners": "english_cleaners",
            "lfeat_type_list": ("sy,tone,syllable_flag,word_segment,emo_category,speaker_category"),
            "speaker_list": SPEAKERS,
        },
    }
    vocoder = {"model_type": "hifigan", "Model": {"Generator": {"params": size.vocoder}}}
    net = _random_acoustic(parse_acoustic(acoustic, "the acoustic model"))
    mel = _fit_durations(net, parse_acoustic(acoustic, "the acoustic model"))
    generator = _random_vocoder(vocoder, mel)
    voice = folder / "voices" / name
    model: dict[str, Any] = {"model": net.state_dict(), "steps": 0}
    if trained:
        model["optimizer"] = {"state": {0: {"exp_avg_sq": _moments(net, trained)}}}
    _write(voice / "am", acoustic, model)
    _write(voice / "voc", vocoder, {"model": {"generator": _with_weight_norm(generator)}})
    audio = {"sampling_rate": RATE_HZ, "n_mels": size.vocoder["in_channels"]}
    (voice / "audio_config.yaml").write_text(yaml.safe_dump({"audio_config": audio}))
    (folder / "voices" / "voices.json").write_text(json.dumps({"voices": [name]}))
    configuration = {
        "framework": "pytorch",
        "task": "text-to-speech",
        "model": {"type": "sambert-hifigan", "sample_rate": RATE_HZ},
        "pipeline": {"type": "sambert-hifigan-tts"},
    }
    (folder / "configuration.json").write_text(json.dumps(configuration, indent=1))
    return folder


def _random_acoustic(config: AcousticConfig) -> Sambert:
    sizes = [len(values) for values in tables().values()] + [len(SPEAKERS.split(","))]
    net = Sambert(config, tuple(size + N_SPECIALS for size in sizes))
    net.text_encoder.ling_enc.position_enc.position_enc.data = position_code(
        1, config.max_len, config.embedding_dim
    )[None]
    width = config.projection_units
    even = torch.arange(width) // 2 * 2
    net.variance_adaptor.dur_position_encoder.inv_timescales.data = 10000.0 ** (even / width)
    return net


def _fit_durations(net: Sambert, config: AcousticConfig) -> Tensor:
    """Scale the duration head until units last as in speech; mel frames of the sentences."""
    encoder = SymbolEncoder(config.speakers, ignore_speaker=False, max_units=1000)
    items = [AcousticInput(encoding=encoder.encode(symbols)) for _, symbols in sentences()]
    head = net.variance_adaptor.duration_predictor.fc
    mean, deviation = LOG_DURATION
    head.bias.data.fill_(mean)
    mel = torch.empty(0)
    for _ in range(6):
        model = AcousticModel(
            net,
            config,
            EagerLoops(),
            speaker=None,
            pitch_scale=PitchScale(scale=1.0, offset=0.0),
            max_frames=10**6,
        )
        outputs = model.render(items)
        mel = torch.cat([torch.from_numpy(output.mel) for output in outputs])
        found = torch.cat([torch.from_numpy(output.log_duration) for output in outputs])
        gain = float(deviation / found.std().clamp(min=1e-6))
        head.weight.data *= gain
        head.bias.data = (head.bias.data - found.mean()) * gain + mean
    return mel


def _random_vocoder(values: dict[str, Any], mel: Tensor) -> Generator:
    config = parse_vocoder(values, "the vocoder")
    net = Generator(config)
    wave = Vocoder(TorchRenderer(fold(net, config)), config, None).render(mel[:80].numpy(), None)
    net.conv_post.conv1d.weight.data *= LOUDNESS / float(wave.std())
    assert net.conv_post.conv1d.bias is not None
    net.conv_post.conv1d.bias.data.zero_()
    return net


def _with_weight_norm(net: nn.Module) -> dict[str, Tensor]:
    """The state dict as training saves it: every convolution as direction and gain."""
    state = {}
    for name, tensor in net.state_dict().items():
        if name.endswith(".weight"):
            prefix = name.removesuffix("weight")
            norm = tensor.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            state |= {prefix + "weight_g": norm, prefix + "weight_v": tensor * 2}
        else:
            state[name] = tensor
    return state


def _moments(net: Sambert, trained: tuple[str, ...]) -> Tensor:
    moments = torch.zeros_like(net.emo_tokenizer.weight)
    for emotion in trained:
        moments[1 + emotions().index(emotion)] = 1e-6
    return moments


def _write(folder: Path, config: dict[str, Any], checkpoint: dict[str, Any]) -> None:
    (folder / "ckpt").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    torch.save(checkpoint, folder / "ckpt" / "checkpoint_0.pth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--name", default="zhitian_emo")
    given = parser.parse_args()
    print(make_voice(given.folder, given.name, size=SIZES[given.size]))


if __name__ == "__main__":
    main()
