"""Folders in diffusers' format, on disk or from the hub."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download


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
