"""Transformers in diffusers' format, by the class that their config names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
from diffusers import HunyuanVideoTransformer3DModel

from fp_lab.backbones.hunyuan_video import HunyuanVideo
from fp_lab.backbones.protocol import TRANSFORMER
from fp_lab.backbones.wan import Wan

FAMILIES: Mapping[str, type[HunyuanVideo] | type[Wan]] = {
    "HunyuanVideoFramepackTransformer3DModel": HunyuanVideo,
    "HunyuanVideoTransformer3DModel": HunyuanVideo,
    "WanTransformer3DModel": Wan,
}
"""Backbones by diffusers' class."""


def new_transformer(name: str, settings: Mapping[str, Any]) -> HunyuanVideo | Wan:
    """A backbone with random weights of torch's default type, on its default device.

    Args:
        name: of diffusers' class, one of `FAMILIES`.
        settings: of the class, as in its config.json.
    """
    return FAMILIES[name](getattr(diffusers, name)(**settings))


def load_transformer(source: str | Path, **options: Any) -> HunyuanVideo | Wan:
    """A backbone with the weights of a folder or of the hub.

    Args:
        source: a transformer's folder, a pipeline's (with ``transformer/`` in it), or a hub id of either.
        options: of diffusers' `from_pretrained`, such as ``torch_dtype``.

    Raises:
        ValueError: nothing is there, or a model of another class.
    """
    where = _place(source) | options
    try:
        stored = HunyuanVideoTransformer3DModel.load_config(source, subfolder=where.get("subfolder"))
    except OSError as error:
        raise ValueError(
            f"no transformer at {source}: expected a folder in diffusers' format (config.json with "
            f"safetensors, or {TRANSFORMER}/ that has them) or a hub id such as lllyasviel/FramePackI2V_HY, "
            "hunyuanvideo-community/HunyuanVideo or Wan-AI/Wan2.1-T2V-1.3B-Diffusers; "
            "`hf download ID --local-dir FOLDER` brings one"
        ) from error
    kind = FAMILIES.get(stored.get("_class_name", ""))
    if kind is None:
        raise ValueError(
            f"{source} holds a {stored.get('_class_name')}, expected one of {', '.join(FAMILIES)}"
        )
    return kind.from_pretrained(source, **where)


def _place(source: str | Path) -> dict[str, Any]:
    """A pipeline has a folder for its transformer; on the hub all but FramePack's are pipelines."""
    folder = Path(source)
    if folder.is_dir():
        return {"subfolder": TRANSFORMER} if (folder / TRANSFORMER).is_dir() else {}
    return {} if "framepack" in str(source).lower() else {"subfolder": TRANSFORMER}
