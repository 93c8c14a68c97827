"""A folder of filmed walks: mp4 files, captions and poses beside them."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from fp_data.atomic import replacing
from fp_data.buckets import Bucket, place
from fp_data.clips import caption_path
from fp_data.counts import check_counts
from fp_data.damaged import naming_damage, parse_json
from fp_data.read_video import scaled, write_mp4
from fp_data.vizdoom.film import film
from fp_data.vizdoom.floor_plan import free_ways
from fp_data.vizdoom.game import LEVEL, Game, screen_sizes
from fp_data.vizdoom.poses import AGAIN, Pose, poses_path
from fp_data.vizdoom.script import Move, Script, caption, write_script

LANDSCAPE = Bucket(480, 832)


@dataclass(frozen=True)
class MakeConfig:
    """What the videos are.

    Attributes:
        frames: Length.
        size: Of the pictures.
        fps: Frames per second of the file; the game itself goes at 17.5.
    """

    frames: int = 145
    size: Bucket = LANDSCAPE
    fps: float = 16.0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        check_counts(frames=self.frames, height=self.size.height, width=self.size.width)
        if not 0 < self.fps < math.inf:
            raise ValueError(f"got fps={self.fps}, expected a finite number above 0")


@dataclass(frozen=True)
class Walk:
    """A video of the folder.

    Attributes:
        path: The mp4; its caption (.txt) and its poses (.json) are beside it.
        caption: What the walk does.
    """

    path: Path
    caption: str


def make_walks(
    folder: Path,
    seeds: Sequence[int],
    config: MakeConfig | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> Iterator[Walk]:
    """Film walks, one per seed; those that are there and whole are left alone.

    The same seed gives the same bytes, whatever is made before it.

    Args:
        folder: Where they go, as ``walk-<seed>.mp4``.
        seeds: Of the walks.
        config: What the videos are; None: the defaults.
        progress: Called with the number of frames that are done.

    Raises:
        ValueError: The package vizdoom is not installed, its screens are smaller than the size, or the folder
            has a walk of one of the seeds with other settings.
    """
    config = config or MakeConfig()
    screen = _screen(config.size)
    missing = {seed for seed in seeds if not _is_there(folder, seed, config)}
    with Game(screen) as game:
        plan = game.floor_plan()
        free = free_ways(plan)
        for done, seed in enumerate(seeds):
            if seed in missing:
                script = write_script(plan, free, seed)
                _make(game, script, folder, seed, config, partial(_count, progress, done * config.frames))
            path = _path(folder, seed)
            yield Walk(path, caption_path(path).read_text(encoding="utf-8").strip())
            progress((done + 1) * config.frames)


def _count(progress: Callable[[int], None], before: int, frames: int) -> None:
    progress(before + frames)


def _make(
    game: Game, script: Script, folder: Path, seed: int, config: MakeConfig, progress: Callable[[int], None]
) -> None:
    """The poses come last: with them a walk is whole."""
    path = _path(folder, seed)
    seen: list[tuple[Pose, Move]] = []

    def pictures() -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        for index, frame in enumerate(islice(film(game, script, seed), config.frames)):
            seen.append((frame.pose, frame.move))
            progress(index)
            yield _fitted(frame.picture, config.size)

    write_mp4(path, pictures(), config.fps)
    poses, moves = zip(*seen, strict=True)
    starts = [i for i, move in enumerate(moves) if i == 0 or move is not moves[i - 1]]
    stored = {
        **_settings(seed, config),
        "moves": [{"frame": start, "does": moves[start].words} for start in starts],
        **{name: [round(getattr(pose, name), 4) for pose in poses] for name in Pose._fields},
    }
    _write(caption_path(path), caption([move.words for move in moves]) + "\n")
    _write(poses_path(path), json.dumps(stored) + "\n")


def _is_there(folder: Path, seed: int, config: MakeConfig) -> bool:
    path = _path(folder, seed)
    if not (path.is_file() and caption_path(path).is_file() and poses_path(path).is_file()):
        return False
    with naming_damage(poses_path(path), AGAIN):
        stored = parse_json(poses_path(path).read_bytes())
        differing = [
            f"{name} {stored.get(name)}, not {value}"
            for name, value in _settings(seed, config).items()
            if stored.get(name) != value
        ]
    if differing:
        raise ValueError(
            f"{path} was made with {'; '.join(differing)}. Take another folder, or remove this one's walks"
        )
    return True


def _settings(seed: int, config: MakeConfig) -> dict[str, Any]:
    size = str(config.size)
    return {"level": LEVEL, "seed": seed, "frames": config.frames, "size": size, "fps": config.fps}


def _screen(size: Bucket) -> Bucket:
    """The smallest one that a picture can be cut from without being enlarged."""
    screens = screen_sizes()
    enough = [screen for screen in screens if screen.height >= size.height and screen.width >= size.width]
    if not enough:
        raise ValueError(f"got size={size}, expected at most {screens[-1]}: larger screens there are none")
    return enough[0]


def _fitted(picture: UInt8[np.ndarray, "h w 3"], size: Bucket) -> UInt8[np.ndarray, "H W 3"]:
    at = place(picture.shape[0], picture.shape[1], size)
    whole = scaled(picture, (at.height, at.width))
    return whole[at.top : at.top + size.height, at.left : at.left + size.width]


def _path(folder: Path, seed: int) -> Path:
    return folder / f"walk-{seed:06d}.mp4"


def _write(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
