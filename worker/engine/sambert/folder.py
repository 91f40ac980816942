"""Finds a voice's files in a ModelScope model folder, which is only ever read.

Knows the three published layouts: `voices/<name>/`, one voice named by `custom_ckpt` in
`configuration.json`, and `basemodel_*/{sambert,hifigan}/`. A `SHA256SUMS` file in the folder
(as `sha256sum` writes it, and `worker/hub.py` leaves it) is checked before weights are trusted.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from shared.errors import EngineUnavailable

CHECKSUMS = "SHA256SUMS"
DEFAULT_RATE_HZ = 16_000
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")
_CHECKPOINT = re.compile(r"^checkpoint.*?_?(\d+)\.pth$")


@dataclass(frozen=True, kw_only=True)
class VoiceFiles:
    """Where one voice's files lie; the optional ones are None where the model has none."""

    name: str
    folder: Path
    rate_hz: int
    am_config: Path
    am_checkpoint: Path
    voc_config: Path
    voc_checkpoint: Path
    mvn: Path | None = None
    se: Path | None = None
    audio_config: Path | None = None

    def present(self) -> list[Path]:
        """Every file this voice is made of, in a fixed order."""
        files = [self.am_config, self.am_checkpoint, self.voc_config, self.voc_checkpoint]
        return files + [f for f in (self.mvn, self.se, self.audio_config) if f is not None]


Unfit = dict[str, EngineUnavailable]  # why a voice cannot be used, by its name


def find_voices(folder: Path, unfit: Unfit | None = None) -> list[VoiceFiles]:
    """Every voice of a model folder, its default voice first; nothing is loaded.

    One that misses a file goes to `unfit` where others miss none. Raises `EngineUnavailable` when
    the folder is no Sambert-HifiGAN model or none of its voices is whole.
    """
    unfit = {} if unfit is None else unfit
    if not folder.is_dir():
        raise EngineUnavailable(
            f"{folder} is no folder; give the one that `ttsfarm-worker fetch` printed"
        )
    model = _model_section(folder)
    rate_hz = model.get("sample_rate", DEFAULT_RATE_HZ)
    if type(rate_hz) is not int or rate_hz <= 0:
        raise EngineUnavailable(f"{folder}: model.sample_rate is {rate_hz!r}, expected hertz")
    if model.get("custom_ckpt"):
        return [_custom_voice(folder, model["custom_ckpt"], rate_hz)]
    places = list(_listed_voices(folder)) or list(_base_models(folder))
    voices, missing = [], Unfit()
    for place in places:
        try:
            voices.append(_voice(folder, rate_hz, place))
        except EngineUnavailable as error:
            missing[place.name] = error
    if missing and not voices:
        raise next(iter(missing.values()))
    unfit |= missing
    if not voices:
        raise EngineUnavailable(
            f"{folder} holds no voice: expected voices/voices.json with voices/<name>/ folders, "
            "or basemodel_*/"
        )
    return voices


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML file's mapping. Raises `EngineUnavailable` naming the file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: also of an impossible date
        raise EngineUnavailable(f"{path} could not be read as YAML: {error}") from error
    if not isinstance(values, Mapping):
        raise EngineUnavailable(f"{path} is no mapping of settings")
    return values


def fingerprint(files: VoiceFiles) -> str:
    """The voice's revision: 12 hexadecimal digits over the content of all its files.

    Raises `EngineUnavailable` when a file is not as the folder's `SHA256SUMS` says, or not in it.
    """
    expected = read_checksums(files.folder)
    whole = hashlib.sha256()
    for path in files.present():
        digest = sha256_of(path)
        name = path.relative_to(files.folder).as_posix()
        if expected is not None and name not in expected:
            raise EngineUnavailable(
                f"{path} is not in {CHECKSUMS}, so nothing tells whether it is the model's own; "
                f"list it there with sha256sum, or delete {CHECKSUMS} to use the folder unchecked"
            )
        if expected is not None and expected[name] != digest:
            raise EngineUnavailable(
                f"{path} is damaged: its SHA-256 is {digest}, {CHECKSUMS} says {expected[name]}; "
                "fetch the model again"
            )
        whole.update(f"{name} {digest}\n".encode())
    return whole.hexdigest()[:12]


def read_checksums(folder: Path) -> dict[str, str] | None:
    """File names relative to `folder` and their SHA-256; None where the folder has no list.

    Raises `EngineUnavailable` for a list that cannot be read to its last line.
    """
    path = folder / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise EngineUnavailable(f"{path} could not be read: {error}") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        match = _CHECKSUM.fullmatch(line)
        if match:
            found[match[2]] = match[1].lower()
        elif line.strip():
            raise EngineUnavailable(f"{path}, line {number} is no line of sha256sum")
    return found


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal. Raises `EngineUnavailable` when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise EngineUnavailable(f"{path} could not be read: {error}") from error


def _model_section(folder: Path) -> Mapping[str, Any]:
    path = folder / "configuration.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"{path} could not be read as JSON: {error}") from error
    model = values.get("model") if isinstance(values, dict) else None
    kind = model.get("type") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind != "sambert-hifigan":
        raise EngineUnavailable(
            f"{path}: model.type is {kind!r}, this engine loads sambert-hifigan only"
        )
    return model


class _Place(NamedTuple):
    """Where a voice's two models lie, and what belongs to neither."""

    name: str
    acoustic: Path
    vocoder: Path
    extra: Path


def _listed_voices(folder: Path) -> Iterator[_Place]:
    path = folder / "voices" / "voices.json"
    if not path.is_file():
        return
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"{path} could not be read: {error}") from error
    names = listed.get("voices", []) if isinstance(listed, dict) else listed
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise EngineUnavailable(f"{path}: voices is {names!r}, expected a list of names")
    for name in dict.fromkeys(names):
        _require_name(name, path)
        voice = folder / "voices" / name
        # A voice listed without a folder is skipped, as upstream does.
        if voice.is_dir():
            yield _Place(name, voice / "am", voice / "voc", voice)


def _base_models(folder: Path) -> Iterator[_Place]:
    for base in sorted(folder.glob("basemodel_*")):
        yield _Place(base.name, base / "sambert", base / "hifigan", base)


def is_plain(name: str) -> bool:
    """Whether a name is fit to be a folder's."""
    return bool(name) and name not in (".", "..") and not set(name) & {"/", "\\", "\0"}


def _require_name(name: str, path: Path) -> None:
    if not is_plain(name):
        raise EngineUnavailable(f"{path} names a voice {name!r}, which is no plain name")


def _voice(folder: Path, rate_hz: int, place: _Place) -> VoiceFiles:
    acoustic, vocoder = place.acoustic, place.vocoder
    return VoiceFiles(
        name=place.name,
        folder=folder,
        rate_hz=rate_hz,
        am_config=_existing(acoustic / "config.yaml"),
        am_checkpoint=_newest_checkpoint(acoustic / "ckpt"),
        voc_config=_existing(vocoder / "config.yaml"),
        voc_checkpoint=_newest_checkpoint(vocoder / "ckpt"),
        mvn=_optional(acoustic / "mvn.npy"),
        se=_optional(acoustic / "se.npy"),
        audio_config=_optional(place.extra / "audio_config.yaml"),
    )


def _custom_voice(folder: Path, custom: Any, rate_hz: int) -> VoiceFiles:
    needed = ("voice_name", "am_ckpt", "voc_ckpt", "am_config", "voc_config")
    if not isinstance(custom, dict) or not all(isinstance(custom.get(k), str) for k in needed):
        raise EngineUnavailable(f"{folder}: custom_ckpt must name {', '.join(needed)}")
    _require_name(custom["voice_name"], folder / "configuration.json")
    root = folder.resolve()
    own = {key: _inside(root, key, custom[key]) for key in needed[1:]}

    def extra(key: str, usual: str) -> Path | None:
        given = custom.get(key)
        return _existing(_inside(root, key, given)) if given else _optional(root / usual)

    return VoiceFiles(
        name=custom["voice_name"],
        folder=root,
        rate_hz=rate_hz,
        am_config=_existing(own["am_config"]),
        am_checkpoint=_chosen_checkpoint(own["am_ckpt"]),
        voc_config=_existing(own["voc_config"]),
        voc_checkpoint=_chosen_checkpoint(own["voc_ckpt"]),
        mvn=extra("mvn_file", "mvn.npy"),
        se=extra("se_file", "se.npy"),
        audio_config=extra("audio_config", "audio_config.yaml"),
    )


def _inside(root: Path, key: str, value: Any) -> Path:
    """Where an entry of `custom_ckpt` leads, which is nowhere but into the model's folder."""
    if not isinstance(value, str):
        raise EngineUnavailable(f"{root}: custom_ckpt.{key} is {value!r}, expected a path")
    path = (root / value).resolve()
    if not path.is_relative_to(root):
        raise EngineUnavailable(f"{root}: custom_ckpt.{key} leads out of the model folder")
    return path


def _chosen_checkpoint(path: Path) -> Path:
    """The checkpoint `custom_ckpt` names by itself or, as upstream's examples do, by its folder."""
    return _newest_checkpoint(path) if path.is_dir() else _existing(path)


def _newest_checkpoint(folder: Path) -> Path:
    """The checkpoint of the highest step; steps compare as integers."""
    steps = [(_CHECKPOINT.match(p.name), p) for p in folder.glob("checkpoint*.pth")]
    numbered = [(int(match[1]), path) for match, path in steps if match]
    if not numbered:
        raise EngineUnavailable(f"{folder} holds no checkpoint_<n>.pth; fetch the model again")
    return max(numbered)[1]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise _missing(path)
    return path


def _optional(path: Path) -> Path | None:
    return path if path.is_file() else None


def _missing(path: Path) -> EngineUnavailable:
    return EngineUnavailable(f"{path} is missing; fetch the model again")
