"""What a pipeline in diffusers' format consists of: a refusal of parts that would be passed over."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fp_lab.weights.files import read_config
from fp_lab.weights.hub import local_folder

INDEX = "model_index.json"
"""File of a pipeline's folder that names its parts."""
_USED = (
    "transformer",
    "vae",
    "text_encoder",
    "tokenizer",
    "text_encoder_2",
    "tokenizer_2",
    "image_encoder",
    "image_processor",
    "feature_extractor",
)
_REPLACED = ("scheduler",)  # by the solvers, whose shift is that of the token count
_SETTINGS = ("boundary_ratio",)  # of parts that take turns: the noise level at which the second one begins


def require_used(source: str | Path) -> None:
    """Refuse a pipeline with a part that nothing here uses: the rest of it would be another model.

    Wan 2.2 A14B is one, whose two transformers take turns. Nothing but the index is read, or downloaded.

    Args:
        source: folder or hub id, of a pipeline or of its transformer alone.

    Raises:
        ValueError: names the parts.
    """
    index = _index(source)
    parts = {
        name: entry[1]
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and any(entry)
    }
    passed_over = sorted(set(parts).difference(_USED, _REPLACED))
    if passed_over:
        named = [f"{name} ({parts[name]})" for name in passed_over]
        named += [f"{name} {index[name]}" for name in _SETTINGS if index.get(name) is not None]
        raise ValueError(
            f"{source} is of a {index.get('_class_name', 'pipeline')} with {', '.join(named)}, which would "
            "be passed over, expected a pipeline that is used as a whole; take one of a single transformer, "
            "such as Wan-AI/Wan2.1-T2V-14B-Diffusers"
        )


def _index(source: str | Path) -> Mapping[str, Any]:
    """The index of a pipeline, also for the folder of its transformer; empty where there is none."""
    try:
        root = local_folder(source, (INDEX,), "")
    except ValueError:  # there is no such source, which whoever loads from it says
        return {}
    for folder in (root, root.parent):
        if (folder / INDEX).is_file():
            index = read_config(folder / INDEX)
            return index if folder == root or root.name in index else {}
    return {}
