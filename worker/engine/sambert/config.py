"""What a voice's two `config.yaml` files say, checked and typed.

Every fault of a file is reported at once. Anything this engine would render wrongly is refused
here: filled-pause models, byte input, multi-band vocoders, other languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from shared.errors import EngineUnavailable

COLUMNS = ("sy", "tone", "syllable_flag", "word_segment", "emo_category", "speaker_category")


@dataclass(frozen=True, kw_only=True)
class TransformerShape:
    """Size of a stack of attention blocks; `units` is the width of its residual stream."""

    n_layers: int
    n_heads: int
    units: int
    ffn_units: int

    @property
    def head_units(self) -> int:
        return self.units // self.n_heads


@dataclass(frozen=True, kw_only=True)
class FsmnShape:
    """Size of a stack of memory layers. `paddings` are (left, right) frames, one pair a layer."""

    filter_size: int
    paddings: tuple[tuple[int, int], ...]
    memory_units: int
    ffn_units: int


@dataclass(frozen=True, kw_only=True)
class AcousticConfig:
    """Sizes of a Sambert model. `nsf_norm` is None for models without f0 channels."""

    max_len: int
    embedding_dim: int
    encoder: TransformerShape
    projection_units: int
    speaker_units: int
    emotion_units: int
    predictor: FsmnShape
    predictor_lstm_units: int
    duration_prenet_units: tuple[int, ...]
    duration_lstm_units: int
    decoder: TransformerShape
    decoder_prenet_units: tuple[int, ...]
    outputs_per_step: int
    n_mels: int
    postnet: FsmnShape
    postnet_lstm_units: int
    nsf_norm: str | None
    nsf_global_hz: tuple[float, float]
    has_speaker_embedding: bool
    speakers: tuple[str, ...]

    @property
    def condition_units(self) -> int:
        """Width of text, speaker and emotion side by side."""
        return self.projection_units + self.speaker_units + self.emotion_units

    @property
    def memory_units(self) -> int:
        """Width of one row of decoder memory: `outputs_per_step` frames, speaker, emotion."""
        return (
            self.outputs_per_step * self.projection_units + self.speaker_units + self.emotion_units
        )


@dataclass(frozen=True, kw_only=True)
class VocoderConfig:
    """Sizes of a HiFi-GAN generator. `n_harmonics` is None without an NSF source."""

    in_channels: int
    channels: int
    kernel_size: int
    scales: tuple[int, ...]
    up_kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    block_dilations: tuple[tuple[int, ...], ...]
    causal: bool
    slope: float
    n_harmonics: int | None
    source_rate_hz: int

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return prod(self.scales)


class Reader:
    """Takes typed values out of a mapping and remembers every fault."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.faults: list[str] = []

    def count(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.faults.append(f"{key} is {value!r}, expected a positive integer")
            return 1
        return value

    def number(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.faults.append(f"{key} is {value!r}, expected a number")
            return default
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.faults.append(f"{key} is {value!r}, expected true or false")
            return default
        return value

    def counts(self, key: str) -> tuple[int, ...]:
        value = self.values.get(key)
        listed = value if isinstance(value, list) else []
        if not listed or not all(type(v) is int and v > 0 for v in listed):
            self.faults.append(f"{key} is {value!r}, expected a list of positive integers")
            return (1,)
        return tuple(listed)

    def refuse(self, key: str, reason: str) -> None:
        if self.values.get(key):
            self.faults.append(f"{key} is {self.values[key]!r}: {reason}")

    def finish(self, what: str) -> None:
        """Raises `EngineUnavailable` naming every fault found so far."""
        if self.faults:
            raise EngineUnavailable(f"{what} cannot be used: " + "; ".join(self.faults))


def parse_acoustic(values: Mapping[str, Any], what: str) -> AcousticConfig:
    """The acoustic model's sizes from its parsed YAML; `what` names the file in errors.

    Raises `EngineUnavailable` naming every key that is missing, malformed or unsupported.
    """
    read = Reader(_params(values, "KanTtsSAMBERT", what))
    read.refuse("FP", "filled-pause models are not supported")
    read.refuse("using_byte", "models that read bytes instead of phones are not supported")
    nsf, norm = read.flag("NSF"), read.values.get("nsf_norm_type", "mean_std")
    if nsf and norm not in ("mean_std", "global"):
        read.faults.append(f"nsf_norm_type is {norm!r}, expected mean_std or global")
    speakers = _parse_units(values.get("linguistic_unit"), read)
    config = AcousticConfig(
        max_len=read.count("max_len"),
        embedding_dim=read.count("embedding_dim"),
        encoder=_transformer(read, "encoder"),
        projection_units=read.count("encoder_projection_units"),
        speaker_units=read.count("speaker_units"),
        emotion_units=read.count("emotion_units"),
        predictor=_fsmn(read, "predictor"),
        predictor_lstm_units=read.count("predictor_lstm_units"),
        duration_prenet_units=read.counts("dur_pred_prenet_units"),
        duration_lstm_units=read.count("dur_pred_lstm_units"),
        decoder=_transformer(read, "decoder"),
        decoder_prenet_units=read.counts("decoder_prenet_units"),
        outputs_per_step=read.count("outputs_per_step"),
        n_mels=read.count("num_mels"),
        postnet=_fsmn(read, "postnet"),
        postnet_lstm_units=read.count("postnet_lstm_units"),
        nsf_norm=norm if nsf else None,
        nsf_global_hz=(
            read.number("nsf_f0_global_minimum", 30.0),
            read.number("nsf_f0_global_maximum", 730.0),
        ),
        has_speaker_embedding=read.flag("SE"),
        speakers=speakers,
    )
    read.finish(what)
    return config


def parse_vocoder(values: Mapping[str, Any], what: str) -> VocoderConfig:
    """The vocoder's sizes from its parsed YAML; raises as `parse_acoustic` does."""
    read = Reader(_params(values, "Generator", what))
    if read.count("out_channels", 1) != 1:
        read.faults.append("out_channels is over 1: multi-band vocoders are not supported")
    if not read.flag("repeat_upsample", True):
        read.faults.append("repeat_upsample is false, which is not supported")
    source = _mapping(read, "nsf_params")
    nsf = Reader(source)
    activation = Reader(_mapping(read, "nonlinear_activation_params"))
    config = VocoderConfig(
        in_channels=read.count("in_channels", 80),
        channels=read.count("channels"),
        kernel_size=read.count("kernel_size"),
        scales=read.counts("upsample_scales"),
        up_kernels=read.counts("upsample_kernal_sizes"),
        block_kernels=read.counts("resblock_kernel_sizes"),
        block_dilations=_dilations(read),
        causal=read.flag("causal", True),
        slope=activation.number("negative_slope", 0.1),
        n_harmonics=nsf.count("nb_harmonics", 7) if source else None,
        source_rate_hz=nsf.count("sampling_rate", 16000),
    )
    read.faults += nsf.faults + activation.faults + _misfits(config)
    read.finish(what)
    return config


def _params(values: Mapping[str, Any], model: str, what: str) -> Mapping[str, Any]:
    models = values.get("Model")
    if not isinstance(models, Mapping) or model not in models:
        found = ", ".join(map(str, models)) if isinstance(models, Mapping) else "none"
        raise EngineUnavailable(
            f"{what} describes another architecture: expected Model.{model}, found {found}"
        )
    entry = models[model]
    params = entry.get("params") if isinstance(entry, Mapping) else None
    if not isinstance(params, Mapping):
        raise EngineUnavailable(f"{what} has no Model.{model}.params")
    return params


def _mapping(read: Reader, key: str) -> Mapping[str, Any]:
    value = read.values.get(key) or {}
    if not isinstance(value, Mapping):
        read.faults.append(f"{key} is {value!r}, expected a mapping")
        return {}
    return value


def _parse_units(units: Any, read: Reader) -> tuple[str, ...]:
    """The speakers, in table order; the other columns are fixed for Mandarin."""
    if not isinstance(units, Mapping):
        read.faults.append("linguistic_unit is missing")
        return ()
    language = units.get("language", "PinYin")
    if str(language).lower() != "pinyin":
        read.faults.append(f"linguistic_unit.language is {language!r}, only PinYin is supported")
    columns = str(units.get("lfeat_type_list", "")).split(",")
    if tuple(c.strip() for c in columns) != COLUMNS:
        read.faults.append(f"lfeat_type_list is {columns}, expected {','.join(COLUMNS)}")
    speakers = tuple(s.strip() for s in str(units.get("speaker_list", "")).split(",") if s.strip())
    if not speakers:
        read.faults.append("linguistic_unit.speaker_list is empty")
    return speakers


def _transformer(read: Reader, side: str) -> TransformerShape:
    shape = TransformerShape(
        n_layers=read.count(f"{side}_num_layers"),
        n_heads=read.count(f"{side}_num_heads"),
        units=read.count(f"{side}_num_units"),
        ffn_units=read.count(f"{side}_ffn_inner_dim"),
    )
    if shape.units % shape.n_heads:
        read.faults.append(f"{side}_num_units {shape.units} is no multiple of {side}_num_heads")
    return shape


def _fsmn(read: Reader, side: str) -> FsmnShape:
    size, n_layers = read.count(f"{side}_filter_size"), read.count(f"{side}_fsmn_num_layers")
    shifts = read.values.get(f"{side}_shift", 0)
    shifts = shifts if isinstance(shifts, list) else [shifts] * n_layers
    if len(shifts) != n_layers or not all(type(s) is int for s in shifts):
        read.faults.append(f"{side}_shift is {shifts!r}, expected {n_layers} integers")
        shifts = [0] * n_layers
    paddings = tuple((round((size - 1) / 2) + s, (size - 1) // 2 - max(s, 0)) for s in shifts)
    if any(min(pair) < 0 for pair in paddings):
        read.faults.append(f"{side}_shift {shifts} is larger than half of the filter")
    elif any(sum(pair) != size - 1 for pair in paddings):
        read.faults.append(f"{side}_shift {shifts} does not fit {side}_filter_size {size}")
    return FsmnShape(
        filter_size=size,
        paddings=paddings,
        memory_units=read.count(f"{side}_num_memory_units"),
        ffn_units=read.count(f"{side}_ffn_inner_dim"),
    )


def _dilations(read: Reader) -> tuple[tuple[int, ...], ...]:
    value = read.values.get("resblock_dilations")
    if not isinstance(value, list) or not all(
        isinstance(row, list) and row and all(type(d) is int and d > 0 for d in row)
        for row in value
    ):
        read.faults.append(f"resblock_dilations is {value!r}, expected lists of integers")
        return ()
    return tuple(tuple(row) for row in value)


def _misfits(config: VocoderConfig) -> list[str]:
    """Faults between keys that are each well formed."""
    faults = []
    if len(config.scales) != len(config.up_kernels):
        faults.append("upsample_scales and upsample_kernal_sizes differ in length")
    if len(config.block_kernels) != len(config.block_dilations):
        faults.append("resblock_kernel_sizes and resblock_dilations differ in length")
    if any(k < s for k, s in zip(config.up_kernels, config.scales, strict=False)):
        faults.append("an upsampling kernel is shorter than its scale")
    if config.channels % 2 ** len(config.scales):
        faults.append(f"channels {config.channels} cannot be halved {len(config.scales)} times")
    if any(k % 2 == 0 for k in (*config.block_kernels, config.kernel_size)):
        faults.append("a convolution kernel has an even size")
    return faults
