"""What a walk does, decided by its seed: looks aside, steps ahead and back, ways out and home again."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from fp_data.vizdoom.floor_plan import FloorPlan, is_roomy
from fp_data.vizdoom.poses import wrapped

LONGEST_TRIP = 3  # ways
SMALLEST_TURN = 1.0  # degrees; a smaller one is not made
SHARPEST_TURN = 120.0  # degrees, on the way out


@dataclass(frozen=True)
class Turn:
    """A turn on the spot.

    Attributes:
        by: degrees, to the left; 180 and -180 are turns round either way.
        words: What it is called in a caption.
    """

    by: float
    words: str


@dataclass(frozen=True)
class Go:
    """Straight to a place, whatever way the camera looks.

    Attributes:
        x: level's units.
        y: level's units.
        words: What it is called in a caption.
    """

    x: float
    y: float
    words: str


Move = Turn | Go


@dataclass(frozen=True)
class Script:
    """A walk.

    Attributes:
        x: where it begins.
        y: where it begins.
        heading: degrees, anticlockwise from the x axis, as the game counts.
        moves: without end.
    """

    x: float
    y: float
    heading: float
    moves: Iterator[Move]


def write_script(plan: FloorPlan, free: Bool[np.ndarray, "p p"], seed: int) -> Script:
    """The walk of a seed. It begins in a room, facing a free way; all that it does ends where it began.

    Args:
        plan: Of the level.
        free: Its `free_ways`.
        seed: Decides all.
    """
    random = np.random.default_rng(seed)
    home = int(random.choice(np.flatnonzero(free.any(1) & is_roomy(plan))))
    ahead = int(random.choice(np.flatnonzero(free[home])))
    x, y = plan.places[home].tolist()
    return Script(x, y, _heading(plan, home, ahead), _moves(plan, free, home, ahead, random))


def caption(words: list[str]) -> str:
    """What a walk does, each thing told once."""
    return ", ".join(["a walk through a dungeon", *dict.fromkeys(words)])


def _moves(
    plan: FloorPlan, free: np.ndarray, home: int, ahead: int, random: np.random.Generator
) -> Iterator[Move]:
    """From home, looking ahead, over and over; each time to another of the ways there, or to the same."""
    while True:
        kind = random.choice(["look", "step", "trip"])
        if kind == "look":
            yield from _look(random)
        elif kind == "step":
            yield _go(plan, ahead, "walking ahead")
            yield _go(plan, home, "walking backwards")
        else:
            yield from _trip(plan, _path(plan, free, [home, ahead], random), random)
        other = int(random.choice(np.flatnonzero(free[home])))
        yield from _turn(_heading(plan, home, other) - _heading(plan, home, ahead))
        ahead = other


def _look(random: np.random.Generator) -> Iterator[Move]:
    by = float(random.integers(60, 181))
    left = bool(random.integers(2))
    yield Turn(by if left else -by, f"looking {'left' if left else 'right'}")
    yield Turn(-by if left else by, "looking ahead again")


def _trip(plan: FloorPlan, path: list[int], random: np.random.Generator) -> Iterator[Move]:
    yield from _through(plan, path, "walking ahead")
    yield _turn_round(random)
    yield from _through(plan, path[::-1], "going back the same way")
    yield _turn_round(random)


def _through(plan: FloorPlan, path: list[int], words: str) -> Iterator[Move]:
    """Along a path, from facing its second place on."""
    heading = _heading(plan, path[0], path[1])
    for here, there in pairwise(path):
        yield from _turn(_heading(plan, here, there) - heading)
        heading = _heading(plan, here, there)
        yield _go(plan, there, words)


def _path(plan: FloorPlan, free: np.ndarray, path: list[int], random: np.random.Generator) -> list[int]:
    """Go on with a path; through no place twice, and with no turn that is nearly one round."""
    for _ in range(int(random.integers(LONGEST_TRIP))):
        heading = _heading(plan, path[-2], path[-1])
        onward = [
            place
            for place in np.flatnonzero(free[path[-1]]).tolist()
            if place not in path and abs(wrapped(_heading(plan, path[-1], place) - heading)) <= SHARPEST_TURN
        ]
        if not onward:
            break
        path = [*path, int(random.choice(onward))]
    return path


def _heading(plan: FloorPlan, here: int, there: int) -> float:
    x, y = plan.places[there] - plan.places[here]
    return float(np.degrees(np.arctan2(y, x)))


def _turn(by: float) -> Iterator[Move]:
    by = wrapped(by)
    if abs(by) >= SMALLEST_TURN:
        yield Turn(by, "turning left" if by > 0 else "turning right")


def _turn_round(random: np.random.Generator) -> Move:
    return Turn(180.0 if random.integers(2) else -180.0, "turning round")


def _go(plan: FloorPlan, place: int, words: str) -> Move:
    x, y = plan.places[place].tolist()
    return Go(x, y, words)
