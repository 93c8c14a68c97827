"""Weights files of a codec or a base, and their identity."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fp_lab.codecs.protocol import described_codec
from fp_lab.codecs.tiny import codec_config
from fp_lab.lab.files.digests import digests_of
from fp_lab.weights.files import CONFIG_FILE, WEIGHTS_FILE
from fp_lab.weights.hub import local_folder
from fp_lab.weights.pipelines import require_used
from fp_lab.weights.shipped import own_folder

What = Literal["codec", "base"]

_PARTS: dict[What, str] = {"codec": "vae", "base": "transformer"}
"""Subfolders of a diffusers pipeline."""
_COMMANDS: dict[What, str] = {"codec": "fp-lab codec train", "base": "fp-lab pretrain"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_own(what: What, source: str) -> bool:
    """Return whether a codec or a base has fp_lab's own format, not that of diffusers."""
    if source == "shipped" or (Path(source) / WEIGHTS_FILE).is_file():
        return True
    return not Path(source).is_dir() and not _HUB_ID.fullmatch(source)


@dataclass(frozen=True)
class CodecSizes:
    """Channels of a latent frame, pixels per latent row, and frames per latent frame."""

    channels: int
    spatial: int
    temporal: int = 1


def own_codec_sizes(source: str) -> CodecSizes:
    """Sizes of a codec of fp_lab's own or of a plugin; its weights are not read."""
    if plugged := described_codec(source):
        return CodecSizes(plugged.channels, plugged.spatial, plugged.temporal)
    config = codec_config(source)
    return CodecSizes(config.latent_channels, config.spatial)


def latent_stride(codec: str) -> int:
    """Pixels per latent row of a codec: read from the config of fp_lab's own; 8 for those of diffusers."""
    return own_codec_sizes(codec).spatial if is_own("codec", codec) else 8


def weights_files(what: What, source: str) -> tuple[Path, ...]:
    """List all files that a codec or a base depends on, sorted.

    Args:
        what: codec or base.
        source: ``shipped``, a folder of fp_lab's own, or a folder or hub id in diffusers' format.

    Raises:
        ValueError: there are no such weights, or a base is part of a pipeline with components that would be
            ignored.
    """
    advice = (
        f"train one with `{_COMMANDS[what]}` or point "
        f"{'codec.source' if what == 'codec' else 'model.base'} at a folder that has one"
    )
    if is_own(what, source):
        path = own_folder(what, source) / WEIGHTS_FILE
        if not path.is_file():
            raise ValueError(f"no {what} in {path.parent}: expected {WEIGHTS_FILE} and a config; {advice}")
        return (path,)
    if what == "base":
        require_used(source)
    part = _PARTS[what]
    wanted = [f"{folder}*.{ending}" for folder in ("", f"{part}/") for ending in ("json", "safetensors")]
    root = local_folder(source, wanted, advice)
    folder = root / part if (root / part / CONFIG_FILE).is_file() else root
    files = sorted([*folder.glob("*.safetensors"), *folder.glob(CONFIG_FILE)])
    if folder / CONFIG_FILE not in files or len(files) < 2:
        raise ValueError(f"no {what} in {folder}: expected {WEIGHTS_FILE} and a config; {advice}")
    return tuple(files)


def weights_sha256(what: What, source: str) -> str:
    """sha256 of the weights of a codec or a base; in diffusers' format, of all files; a plugin's own digest.

    Raises:
        ValueError: there are no such weights.
    """
    if what == "codec" and (plugged := described_codec(source)):
        return plugged.sha256
    files = weights_files(what, source)
    if is_own(what, source):
        return digests_of(files)[files[0]]
    return weights_identity(files, files[0].parent)


def weights_identity(files: Sequence[Path], folder: Path) -> str:
    """sha256 of files and their relative paths.

    Args:
        files: weights files, up to tens of gigabytes; read again only when changed.
        folder: folder that holds all of them; its own path does not count.
    """
    total = hashlib.sha256()
    for path, sha256 in digests_of(files).items():
        total.update(f"{path.relative_to(folder).as_posix()} {sha256}\n".encode())
    return total.hexdigest()
