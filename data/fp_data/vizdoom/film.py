"""A script played in the game: frame by frame, with the pose of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from fp_data.vizdoom.game import TURN_UNIT, Game
from fp_data.vizdoom.poses import Pose, wrapped
from fp_data.vizdoom.script import Go, Move, Script, Turn

TICS = 2  # of a frame: 17.5 frames are a second of the game
STEP = 7.0  # level's units per tic
TURN = 4.0  # degrees per tic
PUSH = 1.5  # most that a tic adds to the velocity; a runner's is 1.56
ARRIVED = 0.05  # level's units; pushes are multiples of 1/32


@dataclass(frozen=True)
class Frame:
    """A picture of a walk.

    Attributes:
        picture: uint8 RGB `h w c`.
        pose: Where it was taken.
        move: What was being done then.
    """

    picture: UInt8[np.ndarray, "h w 3"]
    pose: Pose
    move: Move


def film(game: Game, script: Script, seed: int) -> Iterator[Frame]:
    """Play a script: its frames, from its first pose on; as many as are asked for, or as its moves last."""
    game.put(Pose(script.x, script.y, script.heading), seed)
    heading = script.heading
    for move in script.moves:
        if isinstance(move, Turn):
            heading += move.by
        played = _turn(game, move, heading) if isinstance(move, Turn) else _go(game, move)
        for tics, _ in enumerate(played):  # each is about to let a tic go by
            if tics % TICS == 0:
                yield Frame(game.picture, game.pose, move)


def _turn(game: Game, move: Turn, heading: float) -> Iterator[None]:
    """To a heading, the way round that the move says."""
    left = move.by + wrapped(heading - game.pose.angle - move.by)
    while round(left / TURN_UNIT):
        yield
        before = game.pose.angle
        game.tic(turn=float(np.clip(left, -TURN, TURN)))
        left -= wrapped(game.pose.angle - before)


def _go(game: Game, move: Go) -> Iterator[None]:
    """To a place: as fast as one can still brake."""
    place = np.array([move.x, move.y])
    while True:
        ahead = place - np.array([game.pose.x, game.pose.y])
        distance, velocity = float(np.linalg.norm(ahead)), np.array(game.velocity)
        if distance < ARRIVED and np.linalg.norm(velocity) < ARRIVED:
            game.settle(move.x, move.y)
            return
        yield
        step = min(STEP, distance if distance < PUSH else max(PUSH, distance / 2))
        push = ahead / max(distance, 1e-9) * step - velocity
        game.tic(push=tuple(push * min(1.0, PUSH / max(float(np.linalg.norm(push)), 1e-9))))
