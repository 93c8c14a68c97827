"""Reading of planned windows, ahead of their encoding."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from fp_data.buckets import read_bucket
from fp_data.shard_manifest import MANIFEST, Manifest
from fp_data.shards import present
from fp_lab.lab.encoding.windows import CLIPS, ClipPlan, Window
from fp_lab.lab.files.digests import digests_of

_AHEAD = 2  # a window at 480p and 33 frames has 40 MB


@dataclass(frozen=True, eq=False)
class Clip:
    """A window and its frames ``t h w c``, RGB; None where a complete shard has it already."""

    window: Window
    frames: UInt8[np.ndarray, "t h w 3"] | None


def read_clips(folder: Path, out: Path) -> Generator[Clip]:
    """Yield all windows of a cache's plan, with frames where they are in no complete shard yet.

    Windows that cannot be read are left out of this and every later run, as the plan on disk records.

    Args:
        folder: Folder of the videos.
        out: The cache.

    Raises:
        ValueError: A window of a lost shard cannot be read, or all videos are gone.
    """
    plan = ClipPlan.load(out / CLIPS)
    shards = Manifest.load(out).shards if (out / MANIFEST).is_file() else ()
    whole = {index for shard in shards if present(out, shard) for index in shard.indices}
    last = max((index for shard in shards for index in shard.indices), default=-1)
    windows = plan.windows
    missing = (window for index, window in enumerate(windows) if index not in whole)
    with closing(_read_ahead(folder, missing)) as coming:
        for index, window in enumerate(windows):
            if index in whole:
                yield Clip(window, None)
                continue
            try:
                frames = next(coming).result()
            except ValueError as error:
                plan.require_videos(folder)
                if index <= last:  # left out, it would give another index to all that lie in shards behind it
                    raise ValueError(
                        f"{error}; a shard that is lost held it: put the video back, or delete {out}"
                    ) from error
                plan = plan.without(window, str(error))
                plan.save(out / CLIPS)
            else:
                yield Clip(window, frames)


def read_window(folder: Path, window: Window) -> UInt8[np.ndarray, "t h w 3"]:
    """Read the frames of a window, RGB, at its bucket's size.

    Raises:
        ValueError: The video is gone, has changed, or cannot be decoded.
    """
    path = folder / window.video.info.path
    if not path.is_file():
        raise ValueError(f"{path}: is gone")
    if (size := path.stat().st_size) != window.video.size:
        raise ValueError(
            f"{path}: has {size} bytes, had {window.video.size} when the windows were planned: another video"
        )
    if digests_of([path])[path] != window.video.sha256:
        raise ValueError(f"{path}: has another content than when the windows were planned: another video")
    info = replace(window.video.info, path=str(path))
    return np.stack(list(read_bucket(info, window.bucket, window.start, window.stop, window.stride)))


def _read_ahead(folder: Path, windows: Iterator[Window]) -> Generator[Future[UInt8[np.ndarray, "t h w 3"]]]:
    """Yield futures of frames, in the order of their windows."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(read_window, folder, window) for window in islice(windows, _AHEAD))
        while coming:
            yield coming.popleft()
            coming.extend(pool.submit(read_window, folder, window) for window in islice(windows, 1))
