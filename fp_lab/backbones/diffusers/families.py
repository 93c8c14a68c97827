"""Transformers in diffusers' format, by the class that their config names or its settings fit."""

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import HunyuanVideoTransformer3DModel

from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.backbones.protocol import TRANSFORMER
from fp_lab.backbones.wan.model import Wan
from fp_lab.weights.files import CONFIG_FILE, building
from fp_lab.weights.hub import load_whole, stored_config
from fp_lab.weights.pipelines import require_used

PLAIN, PACKED, WAN = (
    "HunyuanVideoTransformer3DModel",
    "HunyuanVideoFramepackTransformer3DModel",
    "WanTransformer3DModel",
)
FAMILIES: Mapping[str, type[HunyuanVideo] | type[Wan]] = {
    PLAIN: HunyuanVideo,
    PACKED: HunyuanVideo,
    WAN: Wan,
}
"""Backbones by diffusers' class."""
_NAMES = {PLAIN: PLAIN, PACKED: PACKED, "HunyuanVideoTransformer3DModelPacked": PACKED, WAN: WAN}
"""diffusers' classes by the names in configs; FramePack's own code has a class with the same weights."""


def new_transformer(name: str, settings: Mapping[str, Any]) -> HunyuanVideo | Wan:
    """A backbone with random weights of torch's default type, on its default device.

    Args:
        name: of diffusers' class, one of `FAMILIES`.
        settings: of the class, as in its config.json.
    """
    return FAMILIES[name](getattr(diffusers, name)(**settings))


def class_of(stored: Mapping[str, Any], source: str | Path) -> str:
    """Diffusers' class of a transformer: HunyuanVideo is FramePack where its settings say so.

    Args:
        stored: its config.json. Without a class it is of the one that knows all settings.
        source: where it is from, for the message.

    Returns:
        One of `FAMILIES`.

    Raises:
        ValueError: of no known class.
    """
    settings = {name for name in stored if not name.startswith("_")}
    if (name := stored.get("_class_name")) is None:
        fitting = [known for known in FAMILIES if settings and settings <= _settings(known)]
        name = fitting[0] if fitting else "model without _class_name"
    if name not in _NAMES:
        raise ValueError(f"{source} holds a {name}, expected one of {', '.join(_NAMES)}")
    if _NAMES[name] == WAN:
        return WAN
    packed = stored.get("has_clean_x_embedder") or stored.get("has_image_proj")
    return PACKED if packed else PLAIN


def load_transformer(source: str | Path, **options: Any) -> HunyuanVideo | Wan:
    """A backbone with the weights of a folder or of the hub.

    Args:
        source: a transformer's folder, a pipeline's (with ``transformer/`` in it), or a hub id of either.
        options: of diffusers' `from_pretrained`, such as ``torch_dtype``.

    Raises:
        ValueError: nothing is there, a model of another class, one with other weights than its config says,
            or one of several that work together.
    """
    require_used(source)
    where = _place(source) | options
    try:
        stored = HunyuanVideoTransformer3DModel.load_config(source, subfolder=where.get("subfolder"))
    except (OSError, RecursionError) as error:
        raise ValueError(
            f"no transformer at {source}: expected a folder in diffusers' format (config.json with "
            f"safetensors, or {TRANSFORMER}/ that has them) or a hub id such as lllyasviel/FramePackI2V_HY, "
            "hunyuanvideo-community/HunyuanVideo or Wan-AI/Wan2.1-T2V-1.3B-Diffusers; "
            "`hf download ID --local-dir FOLDER` brings one"
        ) from error
    with building(source):
        name = class_of(stored, source)
        return FAMILIES[name](load_whole(getattr(diffusers, name), source, **where))


def stored_settings(source: str) -> tuple[str, dict[str, Any]]:
    """Diffusers' class of a transformer and all of its settings; no weights are read, nothing is downloaded.

    Args:
        source: as for `load_transformer`.

    Raises:
        ValueError: its config is not on this machine, or of no known class.
    """
    stored = stored_config(source, f"{TRANSFORMER}/{CONFIG_FILE}", CONFIG_FILE)
    with building(source), torch.device("meta"):
        name = class_of(stored, source)
        whole = new_transformer(name, _public(stored)).transformer.config  # with what the file leaves out
    return name, _public(whole)


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a class, without the private entries of diffusers."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _settings(name: str) -> set[str]:
    """What a class of diffusers is made with."""
    return set(signature(getattr(diffusers, name).__init__).parameters)


def _place(source: str | Path) -> dict[str, Any]:
    """A pipeline has a folder for its transformer; on the hub all but FramePack's are pipelines."""
    folder = Path(source)
    if folder.is_dir():
        return {"subfolder": TRANSFORMER} if (folder / TRANSFORMER).is_dir() else {}
    return {} if "framepack" in str(source).lower() else {"subfolder": TRANSFORMER}
