"""Where one can walk straight on: places of a level, and the free ways between them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

# The player is a square of 32 units, so a corner of it is 22.6 from its middle.
CLEARANCE = 24.0
ROOM = 48.0
SHORTEST_WAY = 48.0


@dataclass(frozen=True)
class FloorPlan:
    """A level from above, in its units (a player is 56 high).

    Attributes:
        walls: segments that stop a walker, both ends.
        places: where a walk may stop: middles of rooms and of doorways.
    """

    walls: Float[np.ndarray, "w 2 2"]
    places: Float[np.ndarray, "p 2"]


def free_ways(plan: FloorPlan) -> Bool[np.ndarray, "p p"]:
    """Between which places one can walk straight on."""
    count = len(plan.places)
    free = np.zeros((count, count), dtype=bool)
    for a in range(count):
        for b in range(a):
            free[a, b] = free[b, a] = _is_free(plan, plan.places[[a, b]])
    return free


def is_roomy(plan: FloorPlan) -> Bool[np.ndarray, "p"]:
    """Which places have no wall so near that it is all one sees."""
    return _distances(plan.places, plan.walls).min(1) >= ROOM


def _is_free(plan: FloorPlan, way: Float[np.ndarray, "2 2"]) -> bool:
    if np.linalg.norm(way[1] - way[0]) < SHORTEST_WAY:
        return False
    # Segments that do not cross are nearest at one of their four ends.
    ends = min(_distances(plan.walls.reshape(-1, 2), way[None]).min(), _distances(way, plan.walls).min())
    return bool(ends >= CLEARANCE) and not _crosses(way, plan.walls).any()


def _distances(
    points: Float[np.ndarray, "n 2"], segments: Float[np.ndarray, "m 2 2"]
) -> Float[np.ndarray, "n m"]:
    starts, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    from_start = points[:, None] - starts
    share = (from_start * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
    return np.linalg.norm(from_start - np.clip(share, 0, 1)[..., None] * along, axis=-1)


def _crosses(way: Float[np.ndarray, "2 2"], walls: Float[np.ndarray, "w 2 2"]) -> Bool[np.ndarray, "w"]:
    """Each has its ends on either side of the other."""
    of_walls = _sides(way[1] - way[0], walls - way[0])
    of_way = _sides((walls[:, 1] - walls[:, 0])[:, None], way - walls[:, :1])
    return (of_walls.prod(1) < 0) & (of_way.prod(1) < 0)


def _sides(along: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Positive to the left of a direction, negative to its right."""
    return along[..., 0] * points[..., 1] - along[..., 1] * points[..., 0]
