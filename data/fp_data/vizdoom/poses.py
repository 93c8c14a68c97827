"""Where the camera was in every frame, and how long ago it was there before."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from fp_data.damaged import naming_damage, parse_json

AGAIN = "`fp-lab data make vizdoom` writes it anew where it is gone"
"""What to do with a damaged file of poses."""
Angle = TypeVar("Angle", float, np.ndarray)


class Pose(NamedTuple):
    """Place (level's units) and angle (degrees in [0, 360), anticlockwise from the x axis)."""

    x: float
    y: float
    angle: float


@dataclass(frozen=True)
class Poses:
    """Of the frames of a video, in the level's units (a player is 56 high, a doorway 64 wide).

    Attributes:
        x: place.
        y: place.
        angle: where the camera looks, degrees in [0, 360), anticlockwise from the x axis.
    """

    x: Float[np.ndarray, "t"]
    y: Float[np.ndarray, "t"]
    angle: Float[np.ndarray, "t"]


def wrapped(degrees: Angle) -> Angle:
    """The same direction in [-180, 180)."""
    return (degrees + 180) % 360 - 180


def poses_path(video: str | Path) -> Path:
    """Where the poses of a video are."""
    return Path(video).with_suffix(".json")


def read_poses(video: str | Path) -> Poses:
    """The poses of the frames of a video that `fp-lab data make vizdoom` made, from the .json beside it.

    Raises:
        ValueError: There is none.
    """
    path = poses_path(video)
    if not path.is_file():
        raise ValueError(
            f"{path}: the poses of {video} should be there; `fp-lab data make vizdoom` writes them"
        )
    with naming_damage(path, AGAIN):
        stored = parse_json(path.read_bytes())
        return Poses(*(np.asarray(stored[name], dtype=np.float64) for name in ("x", "y", "angle")))


def gaps(poses: Poses, *, distance: float = 8.0, degrees: float = 5.0) -> Int[np.ndarray, "t"]:
    """How many frames ago each frame's view was last there, before the camera left it; 0 if it never was.

    Args:
        poses: Of a video's frames.
        distance: Two frames show the same view when their places are at most so far apart, level's units ...
        degrees: ... and their angles.
    """
    place = np.hypot(poses.x[:, None] - poses.x, poses.y[:, None] - poses.y)
    turn = np.abs(wrapped(poses.angle[:, None] - poses.angle))
    same = (place <= distance) & (turn <= degrees)
    found = np.zeros(len(poses.x), dtype=np.int64)
    for now, row in enumerate(same):
        away = np.flatnonzero(~row[:now])
        before = np.flatnonzero(row[: away[-1]]) if len(away) else away
        if len(before):
            found[now] = now - before[-1]
    return found
