"""Folders in diffusers' format, on disk or from the hub, and the models in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache

from fp_lab.weights.files import UNEXPECTED, read_config


def local_folder(source: str | Path, patterns: Sequence[str], advice: str) -> Path:
    """The folder of a source, downloaded if it is a hub id that is not in the hub's cache yet.

    Args:
        source: a folder, or a hub id.
        patterns: of the files that are needed of a hub id.
        advice: what to do where there is neither.

    Raises:
        ValueError: there is neither.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(patterns)))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"got {str(source)!r}, which is no folder, and no repository that can be reached or is in the "
            f"hub's cache ({error}); {advice}"
        ) from error


def stored_config(source: str, *names: str) -> dict[str, Any]:
    """The first existing config in a folder, or in the hub's cache for a hub id; nothing is downloaded.

    Args:
        source: a folder, or a hub id.
        names: of the files to look for in it, the first choice first.

    Raises:
        ValueError: there is no such config.
    """
    for name in names:
        path = Path(source) / name if Path(source).is_dir() else try_to_load_from_cache(source, name)
        if isinstance(path, str | Path) and Path(path).is_file():
            return read_config(Path(path))
    raise ValueError(
        f"no {' or '.join(names)} of {source!r} on this machine; "
        f"`hf download {source} --include '*config.json'` brings it"
    )


def load_whole(kind: Any, source: str | Path, *, heads: bool = False, **options: Any) -> Any:
    """A model of diffusers or transformers with all of its weights.

    By itself `from_pretrained` leaves weights random, or without memory, that a file lacks, and says so in a
    log alone.

    Args:
        kind: the class.
        source: a folder, or a hub id.
        heads: whether the file may hold more than the class has, as those of encoders often do.
        options: of `from_pretrained`, such as ``subfolder``.

    Raises:
        ValueError: a file is missing or damaged, or the weights are not those of the class.
    """
    place = "/".join(filter(None, (str(source), options.get("subfolder"))))
    try:
        model, found = kind.from_pretrained(source, output_loading_info=True, use_safetensors=True, **options)
    except UNEXPECTED as error:
        raise ValueError(f"{place} cannot be loaded as a {kind.__name__}: {error}") from error
    wrong = {name.removesuffix("_keys"): sorted(map(str, keys)) for name, keys in found.items() if keys}
    if heads:
        wrong.pop("unexpected", None)
    if wrong:
        told = "; ".join(f"{len(keys)} {name}, {', '.join(keys[:5])}" for name, keys in wrong.items())
        raise ValueError(
            f"{place} holds other weights than those of the {kind.__name__} in its config.json: {told}; "
            "download it again, or from where it is whole"
        )
    return model
