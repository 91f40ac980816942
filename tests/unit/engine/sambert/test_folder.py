"""Model folders that do not fit: each fault a clear error, and a good folder works after it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from shared.errors import EngineUnavailable
from tests.golden.make_voice import make_voice
from tests.reference import GOLDEN
from worker.engine.sambert.checkpoint import fold_weight_norm, read_checkpoint
from worker.engine.sambert.engine import SambertEngine
from worker.engine.sambert.folder import CHECKSUMS, find_voices, fingerprint, sha256_of
from worker.engine.sambert.options import SambertOptions

NAME = "v_nsf"
VOICE = Path("voices") / NAME
AM = VOICE / "am/ckpt/checkpoint_40.pth"
VOC = VOICE / "voc/ckpt/checkpoint_7.pth"
AM_CONFIG = VOICE / "am/config.yaml"
VOC_CONFIG = VOICE / "voc/config.yaml"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "nsf" / "model", tmp_path / "model"))


def load(model: Path) -> SambertEngine:
    engine = SambertEngine(SambertOptions(model_dirs=(model,), compiled=False))
    engine.load(engine.voices()[0].name)
    return engine


def refuse(model: Path, reason: str) -> None:
    """The folder is refused with this reason, and the process goes on with a good one."""
    with pytest.raises(EngineUnavailable, match=reason):
        load(model)
    assert load(GOLDEN / "plain" / "model").voices()


def edit(path: Path, *keys: str, value: Any) -> None:
    """Set one entry of a YAML or JSON file."""
    values = yaml.safe_load(path.read_text())
    entry = values
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value
    path.write_text(json.dumps(values))


def resave(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    entries = torch.load(path, weights_only=True)
    change(entries)
    torch.save(entries, path)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("configuration.json", r"configuration\.json is missing"),
        (str(AM_CONFIG), r"config\.yaml is missing"),
        (str(AM), r"holds no checkpoint"),
        (str(VOC), r"holds no checkpoint"),
        (str(VOICE / "am/mvn.npy"), r"needs mvn\.npy"),
        ("voices/voices.json", r"holds no voice"),
    ],
)
def test_a_missing_file_is_named(model: Path, gone: str, reason: str) -> None:
    (model / gone).unlink()
    refuse(model, reason)


def test_a_missing_speaker_embedding_is_named(tmp_path: Path) -> None:
    model = shutil.copytree(GOLDEN / "se_nsf_global" / "model", tmp_path / "model")
    (model / "voices/v_se_nsf_global/am/se.npy").unlink()
    refuse(Path(model), r"needs se\.npy")


@pytest.mark.parametrize("part", [AM, VOC])
def test_a_truncated_checkpoint_is_refused(model: Path, part: Path) -> None:
    data = (model / part).read_bytes()
    (model / part).write_bytes(data[: len(data) // 2])
    refuse(model, "truncated or no checkpoint")


def test_an_empty_checkpoint_is_refused(model: Path) -> None:
    (model / AM).write_bytes(b"")
    refuse(model, r"checkpoint_40\.pth is empty")


@pytest.mark.parametrize("part", [AM, VOC])
def test_a_checkpoint_of_the_format_before_zip_loads(model: Path, part: Path) -> None:
    entries = torch.load(model / part, weights_only=True)
    torch.save(entries, model / part, _use_new_zipfile_serialization=False)
    assert load(model).voices()
    data = (model / part).read_bytes()
    (model / part).write_bytes(data[: len(data) // 2])
    refuse(model, "truncated or no checkpoint")


@pytest.mark.parametrize("part", [AM, VOC])
def test_a_checkpoint_that_ends_in_its_pickle_is_refused(model: Path, part: Path) -> None:
    entries = torch.load(model / part, weights_only=True)
    torch.save(entries, model / part, _use_new_zipfile_serialization=False)
    data = (model / part).read_bytes()
    for size in range(1, 2000, 7):
        (model / part).write_bytes(data[:size])
        with pytest.raises(EngineUnavailable, match=r"truncated or no checkpoint|or is damaged"):
            read_checkpoint(model / part)


def test_code_in_a_checkpoint_is_not_run(model: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (model / "ran",)

    torch.save({"model": Trap()}, model / AM)
    refuse(model, r"more than tensors, or is damaged, and was not loaded: it asks for \S+$")
    assert not (model / "ran").exists()


def test_a_wrong_shape_is_named_with_both_shapes(model: Path) -> None:
    edit(model / AM_CONFIG, "Model", "KanTtsSAMBERT", "params", "decoder_ffn_inner_dim", value=44)
    refuse(model, r"w_1\.weight has shape \(40, 16, 1\), the config says \(44, 16, 1\)")


def test_missing_and_foreign_tensors_are_named(model: Path) -> None:
    def change(entries: dict[str, Any]) -> None:
        entries["model"]["mel_postnet.extra"] = entries["model"].pop("mel_postnet.fc.bias")

    resave(model / AM, change)
    refuse(model, r"mel_postnet\.fc\.bias is missing; mel_postnet\.extra is not part")


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(model: Path, poison: float) -> None:
    def change(entries: dict[str, Any]) -> None:
        entries["model"]["mel_decoder.mel_dec.ln.weight"][0] = poison

    resave(model / AM, change)
    refuse(model, r"mel_decoder\.mel_dec\.ln\.weight holds NaN or infinity")


def test_nan_in_the_vocoder_is_named(model: Path) -> None:
    def change(entries: dict[str, Any]) -> None:
        entries["model"]["generator"]["conv_post.conv1d.weight_v"][0, 0, 0] = float("nan")

    resave(model / VOC, change)
    refuse(model, r"conv_post\.conv1d\.weight holds NaN")


@pytest.mark.parametrize(
    ("tensor", "value", "shapes"),
    [
        ("weight_g", torch.ones(2, 1, 1), r"\(1, 2, 7\), which weight_g of shape \(2, 1, 1\)"),
        ("weight_v", torch.tensor(1.0), r"\(\), which weight_g of shape \(1, 1, 1\)"),
    ],
)
def test_weight_norm_of_a_wrong_shape_is_named_with_both_shapes(
    model: Path, tensor: str, value: torch.Tensor, shapes: str
) -> None:
    def change(entries: dict[str, Any]) -> None:
        entries["model"]["generator"][f"conv_post.conv1d.{tensor}"] = value

    resave(model / VOC, change)
    refuse(model, rf"{VOC} does not fit: conv_post\.conv1d\.weight_v has shape {shapes}")


@pytest.mark.parametrize(
    ("file", "keys", "value", "reason"),
    [
        ("configuration.json", ("model", "type"), "bert", "model.type is 'bert'"),
        (AM_CONFIG, ("Model",), {"KanTtsTextsyBERT": {}}, "another architecture"),
        (VOC_CONFIG, ("Model",), {"Discriminator": {}}, "another architecture"),
        (AM_CONFIG, ("linguistic_unit", "language"), "Sichuan", "only PinYin"),
        (AM_CONFIG, ("linguistic_unit", "lfeat_type_list"), "byte_index", "lfeat_type_list"),
    ],
)
def test_another_architecture_is_refused(
    model: Path, file: Path, keys: tuple[str, ...], value: Any, reason: str
) -> None:
    edit(model / file, *keys, value=value)
    refuse(model, reason)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("FP", True, "filled-pause"),
        ("using_byte", True, "bytes instead of phones"),
        ("num_mels", "many", "num_mels is 'many', expected a positive integer"),
        ("decoder_num_heads", 3, "no multiple of decoder_num_heads"),
        ("postnet_shift", [1, 2], "postnet_shift is"),
        ("predictor_shift", 30, "larger than half"),
        ("predictor_shift", -1, "does not fit predictor_filter_size"),
        ("dur_pred_prenet_units", [], r"dur_pred_prenet_units is \[\], expected a list"),
        ("decoder_prenet_units", [], r"decoder_prenet_units is \[\], expected a list"),
        ("nsf_norm_type", "log", "nsf_norm_type is 'log'"),
        ("NSF", False, "the acoustic model makes 22 mels, the vocoder reads 20"),
    ],
)
def test_unusable_acoustic_settings_are_named(
    model: Path, key: str, value: Any, reason: str
) -> None:
    edit(model / AM_CONFIG, "Model", "KanTtsSAMBERT", "params", key, value=value)
    refuse(model, reason)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("out_channels", 4, "multi-band"),
        ("repeat_upsample", False, "repeat_upsample"),
        ("upsample_scales", [10, 5], "differ in length"),
        ("resblock_dilations", [[1]], "differ in length"),
        ("channels", 20, "cannot be halved"),
        ("resblock_dilations", "1,3", "resblock_dilations is '1,3'"),
    ],
)
def test_unusable_vocoder_settings_are_named(
    model: Path, key: str, value: Any, reason: str
) -> None:
    edit(model / VOC_CONFIG, "Model", "Generator", "params", key, value=value)
    refuse(model, reason)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("sampling_rate", 16000.0, "sampling_rate is 16000.0, expected a positive integer"),
        ("sampling_rate", "16000", "sampling_rate is '16000', expected a positive integer"),
        ("sampling_rate", True, "sampling_rate is True, expected a positive integer"),
        ("sampling_rate", 24000, "source has 24000 Hz, configuration.json 16000 Hz"),
        ("nb_harmonics", 7.0, "nb_harmonics is 7.0, expected a positive integer"),
    ],
)
def test_unusable_source_settings_are_named(model: Path, key: str, value: Any, reason: str) -> None:
    edit(model / VOC_CONFIG, "Model", "Generator", "params", "nsf_params", key, value=value)
    refuse(model, reason)


def test_every_fault_of_a_config_is_reported_at_once(model: Path) -> None:
    edit(model / AM_CONFIG, "Model", "KanTtsSAMBERT", "params", "max_len", value=-1)
    edit(model / AM_CONFIG, "Model", "KanTtsSAMBERT", "params", "FP", value=True)
    refuse(model, r"FP is True.*max_len is -1")


def test_a_wrong_statistics_file_is_refused(model: Path) -> None:
    np.save(model / VOICE / "am/mvn.npy", np.zeros((3, 1)))
    refuse(model, r"mvn\.npy has shape \(3, 1\), the config says \(2, 1\)")


def test_a_statistics_file_of_words_is_refused(model: Path) -> None:
    np.save(model / VOICE / "am/mvn.npy", np.array([["mean"], ["std"]]))
    refuse(model, r"mvn\.npy holds str\d+, expected numbers")


def test_a_date_that_never_was_is_named(model: Path) -> None:
    with (model / AM_CONFIG).open("a") as stream:
        stream.write("\ncreate_time: 2020-13-45\n")
    refuse(model, r"config\.yaml could not be read as YAML: month must be in 1\.\.12")


@pytest.mark.parametrize("listed", [{"voices": 5}, {"voices": None}, {"voices": [5]}, None, 5])
def test_a_list_of_voices_that_is_none_is_named(model: Path, listed: Any) -> None:
    (model / "voices/voices.json").write_text(json.dumps(listed))
    refuse(model, r"voices\.json: voices is .*, expected a list of names")


def test_a_rate_that_disagrees_is_refused(model: Path) -> None:
    edit(model / "configuration.json", "model", "sample_rate", value=24000)
    refuse(model, "16000 Hz, configuration.json 24000 Hz")


def checksums(model: Path, between: str = "  ") -> str:
    """What `sha256sum` writes of every file of the folder."""
    files = sorted(path for path in model.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return "".join(f"{sha256_of(f)}{between}{f.relative_to(model).as_posix()}\n" for f in files)


def test_a_wrong_checksum_is_refused(model: Path) -> None:
    (model / CHECKSUMS).write_text(f"{'0' * 64}  {AM.as_posix()}\n")
    refuse(model, "is not in SHA256SUMS")
    right = checksums(model)
    (model / CHECKSUMS).write_text(right.replace(sha256_of(model / AM), "0" * 64))
    refuse(model, "is damaged")
    (model / CHECKSUMS).write_text(right)
    load(model)


@pytest.mark.parametrize("between", ["  ", " *", "  ./", " *./"])
def test_every_way_sha256sum_writes_is_checked(model: Path, between: str) -> None:
    right = checksums(model, between)
    (model / CHECKSUMS).write_text(right)
    load(model)
    (model / CHECKSUMS).write_text(right.replace(sha256_of(model / VOC), "0" * 64))
    refuse(model, f"{VOC} is damaged")


def test_checksums_in_capitals_are_the_same(model: Path) -> None:
    digest = sha256_of(model / AM)
    (model / CHECKSUMS).write_text(checksums(model).replace(digest, digest.upper()))
    load(model)


def test_a_file_that_the_checksums_leave_out_is_refused(model: Path) -> None:
    (model / CHECKSUMS).write_text(checksums(model))
    shutil.copy(model / AM, model / AM.with_name("checkpoint_41.pth"))
    refuse(model, r"checkpoint_41\.pth is not in SHA256SUMS")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00", "SHA256SUMS could not be read"),
        (b"the sums of this model\n", "line 1 is no line of sha256sum"),
        (b"0" * 63 + b"  a\n", "line 1 is no line of sha256sum"),
    ],
)
def test_checksums_that_cannot_be_read_are_refused(
    model: Path, content: bytes, reason: str
) -> None:
    (model / CHECKSUMS).write_bytes(content)
    refuse(model, reason)


def test_a_read_only_folder_is_enough_and_stays_untouched(model: Path) -> None:
    paths = sorted(model.rglob("*"))
    before = {path: path.stat().st_mtime_ns for path in paths}
    for path in [model, *paths]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        load(model)
    finally:
        for path in [model, *paths]:
            path.chmod(path.stat().st_mode | 0o200)
    assert {path: path.stat().st_mtime_ns for path in sorted(model.rglob("*"))} == before


def test_the_highest_checkpoint_wins_as_a_number(model: Path) -> None:
    shutil.copy(model / AM, model / AM.with_name("checkpoint_9.pth"))
    shutil.copy(model / AM, model / AM.with_name("checkpoint_100.pth"))
    [files] = find_voices(model)
    assert files.am_checkpoint.name == "checkpoint_100.pth"


def test_a_listed_voice_without_a_folder_is_skipped(model: Path) -> None:
    (model / "voices/voices.json").write_text(json.dumps({"voices": ["gone", NAME]}))
    assert [files.name for files in find_voices(model)] == [NAME]


def test_a_voice_listed_twice_is_one(model: Path) -> None:
    (model / "voices/voices.json").write_text(json.dumps({"voices": [NAME, NAME]}))
    assert [voice.name for voice in load(model).voices()] == [NAME]


@pytest.mark.parametrize("name", ["", ".", "..", "../voices/v_nsf", "a/b", "a\\b"])
def test_a_name_that_is_a_path_is_refused(model: Path, name: str) -> None:
    (model / "voices/voices.json").write_text(json.dumps({"voices": [name]}))
    refuse(model, r"voices\.json names a voice .*, which is no plain name")


@pytest.mark.parametrize(
    ("gone", "reason"),
    [("voc/ckpt", "voc/ckpt holds no checkpoint"), ("am/config.yaml", "missing")],
)
def test_a_voice_that_misses_a_file_leaves_the_others_usable(
    model: Path, gone: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(model / VOICE, model / "voices/broken")
    (model / "voices/voices.json").write_text(json.dumps({"voices": ["broken", NAME]}))
    path = model / "voices/broken" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    engine = load(model)
    assert [voice.name for voice in engine.voices()] == [NAME]
    assert f"the voice broken is left out: {path}" in caplog.text
    with pytest.raises(EngineUnavailable, match=reason):
        engine.load("broken")


def test_a_custom_checkpoint_replaces_the_voices(model: Path) -> None:
    custom = {
        "voice_name": "mine",
        "am_ckpt": AM.as_posix(),
        "voc_ckpt": VOC.as_posix(),
        "am_config": AM_CONFIG.as_posix(),
        "voc_config": VOC_CONFIG.as_posix(),
        "mvn_file": (VOICE / "am/mvn.npy").as_posix(),
    }
    edit(model / "configuration.json", "model", "custom_ckpt", value=custom)
    assert [voice.name for voice in load(model).voices()] == ["mine"]
    edit(model / "configuration.json", "model", "custom_ckpt", value=custom | {"voice_name": "a/b"})
    refuse(model, r"configuration\.json names a voice 'a/b'")
    custom["am_ckpt"] = "../../outside.pth"
    edit(model / "configuration.json", "model", "custom_ckpt", value=custom)
    refuse(model, "leads out of the model folder")


def test_a_custom_checkpoint_may_be_a_folder_and_its_extras_have_usual_names(model: Path) -> None:
    older = model / AM.with_name("checkpoint_9.pth")
    older.write_bytes(b"not read")
    (model / VOICE / "am/mvn.npy").rename(model / "mvn.npy")
    custom = {
        "voice_name": "mine",
        "am_ckpt": AM.parent.as_posix(),
        "voc_ckpt": VOC.parent.as_posix(),
        "am_config": AM_CONFIG.as_posix(),
        "voc_config": VOC_CONFIG.as_posix(),
    }
    edit(model / "configuration.json", "model", "custom_ckpt", value=custom)
    assert [voice.name for voice in load(model).voices()] == ["mine"]
    edit(model / "configuration.json", "model", "custom_ckpt", value=custom | {"se_file": 5})
    refuse(model, "custom_ckpt.se_file is 5, expected a path")
    (model / AM).unlink()
    older.unlink()
    edit(model / "configuration.json", "model", "custom_ckpt", value=custom)
    refuse(model, "holds no checkpoint")


def test_a_base_model_folder_loads(model: Path) -> None:
    base = model / "basemodel_16k"
    base.mkdir()
    (model / VOICE / "am").rename(base / "sambert")
    (model / VOICE / "voc").rename(base / "hifigan")
    shutil.rmtree(model / "voices")
    assert [voice.name for voice in load(model).voices()] == ["basemodel_16k"]


def test_the_revision_follows_the_content(model: Path) -> None:
    [files] = find_voices(model)
    first = fingerprint(files)
    assert first == fingerprint(find_voices(GOLDEN / "nsf" / "model")[0])
    resave(model / AM, lambda entries: entries.update(steps=41))
    assert fingerprint(files) != first


def test_two_folders_with_one_voice_name_are_refused(model: Path) -> None:
    engine = SambertEngine(SambertOptions(model_dirs=(model, GOLDEN / "nsf" / "model")))
    with pytest.raises(EngineUnavailable, match="both have a voice v_nsf"):
        engine.voices()


def test_newer_weight_norm_and_plain_weights_load_alike() -> None:
    path = GOLDEN / "nsf" / "model" / VOC
    state = dict(read_checkpoint(path)["model"]["generator"])
    newer = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): tensor
        for name, tensor in state.items()
    }
    folded = fold_weight_norm(state)
    for other in (fold_weight_norm(newer), fold_weight_norm(folded)):
        assert other.keys() == folded.keys()
        assert all(torch.equal(other[name], folded[name]) for name in folded)


def test_emotions_are_those_the_optimiser_moved(tmp_path: Path) -> None:
    make_voice(tmp_path / "a", "anna", trained=("neutral", "calm", "sad"))
    make_voice(tmp_path / "b", "ben")
    make_voice(tmp_path / "c", "carla_emo")
    options = SambertOptions(model_dirs=tuple(tmp_path / name for name in "abc"))
    found = {voice.name: voice.emotions for voice in SambertEngine(options).voices()}
    assert found["anna"] == ("neutral", "sad", "calm")
    assert found["ben"] == ("neutral",)
    assert found["carla_emo"] == ("neutral", "happy", "angry", "sad", "fear", "hate", "surprise")
