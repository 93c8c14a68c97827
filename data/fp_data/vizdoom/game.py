"""The engine: a still level without monsters, a camera that is put somewhere, pushed and turned."""

import math
from contextlib import ExitStack, chdir
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from fp_data.buckets import Bucket
from fp_data.vizdoom.floor_plan import FloorPlan
from fp_data.vizdoom.poses import Pose, wrapped

LEVEL = "my_way_home"
PUSH_UNIT = 1 / 32  # level's units per tic that one unit of the game's forward and side buttons adds
TURN_UNIT = 360 / 65536  # degrees; all turns are whole multiples of it
_SETTLING = 4  # tics; the first one after a teleport has the eye on the floor
_QUIET = ("render_hud", "render_weapon", "render_crosshair", "render_decals", "render_particles")


class Game:
    """ViZDoom in a process of its own, which ends with the context.

    Args:
        screen: one of `screen_sizes`.

    Raises:
        ValueError: The package vizdoom is not installed.
    """

    def __init__(self, screen: Bucket) -> None:
        self._stack = ExitStack()
        vizdoom = _vizdoom()
        game = vizdoom.DoomGame()
        game.set_doom_game_path(f"{vizdoom.root_path}/freedoom2.wad")
        game.set_doom_scenario_path(f"{vizdoom.scenarios_path}/{LEVEL}.wad")
        game.set_doom_map("map01")
        game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{screen.width}X{screen.height}"))
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_window_visible(False)
        game.set_mode(vizdoom.Mode.PLAYER)
        for what in _QUIET:
            getattr(game, f"set_{what}")(False)
        button = vizdoom.Button
        game.set_available_buttons(
            [button.MOVE_FORWARD_BACKWARD_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.TURN_LEFT_RIGHT_DELTA]
        )
        game.set_sectors_info_enabled(True)
        game.set_episode_start_time(14)  # until then the level moves the player about
        game.set_episode_timeout(0)
        game.add_game_args("-nomonsters +movebob 0 +sv_cheats 1")
        self._game, self._variable = game, vizdoom.GameVariable

    def __enter__(self) -> "Game":
        """Start the engine, which writes its settings into the folder where it starts."""
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="vizdoom"))
            stack.callback(self._game.close)
            with chdir(folder):
                self._game.init()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the engine."""
        self._stack.close()

    def floor_plan(self) -> FloorPlan:
        """The level from above."""
        sectors = [sector.lines for sector in self._state().sectors]
        lines = [line for sector in sectors for line in sector]
        walls = [_segment(line) for line in lines if line.is_blocking]
        doorways = {_middle(_segment(line)) for line in lines if not line.is_blocking}
        rooms = {_middle([end for line in sector for end in _segment(line)]) for sector in sectors}
        return FloorPlan(np.array(walls), np.array(sorted(doorways | rooms)))

    def put(self, pose: Pose, seed: int) -> None:
        """Begin anew, standing still somewhere."""
        self._game.set_seed(seed)
        self._game.new_episode()
        self._game.send_game_command("remove GreenArmor")  # it blinks, and the walk would end there
        self.settle(pose.x, pose.y)
        self.tic(turn=wrapped(pose.angle - self.pose.angle))

    def settle(self, x: float, y: float) -> None:
        """Be exactly somewhere, and still, so that what comes back has the very same picture.

        It takes some tics, in which the picture is none to show.

        Args:
            x: place; from anywhere at the beginning, else from very near.
            y: place.
        """
        self.tic()  # the game stops what is slower than 1/16
        self._game.send_game_command(f"warp {x} {y}")
        for _ in range(_SETTLING):
            self.tic()

    def tic(self, push: tuple[float, float] = (0.0, 0.0), turn: float = 0.0) -> None:
        """Let a 35th of a second go by.

        Args:
            push: added to the velocity along x and y, level's units per tic; up to 1.5 in all.
            turn: degrees to the left, to the nearest of `TURN_UNIT`.
        """
        angle = math.radians(self.pose.angle + turn)
        forward = push[0] * math.cos(angle) + push[1] * math.sin(angle)
        right = push[0] * math.sin(angle) - push[1] * math.cos(angle)
        units = 0.1 - round(turn / TURN_UNIT)  # of which the game takes the floor
        self._game.make_action([forward / PUSH_UNIT, right / PUSH_UNIT, units * TURN_UNIT])

    @property
    def pose(self) -> Pose:
        """Where the camera is."""
        of, value = self._variable, self._game.get_game_variable
        return Pose(value(of.POSITION_X), value(of.POSITION_Y), value(of.ANGLE))

    @property
    def velocity(self) -> tuple[float, float]:
        """Along x and y, level's units per tic: what friction has left of the last step."""
        of, value = self._variable, self._game.get_game_variable
        return value(of.VELOCITY_X), value(of.VELOCITY_Y)

    @property
    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        """What the camera sees, RGB."""
        return np.array(self._state().screen_buffer)

    def _state(self) -> Any:
        state = self._game.get_state()
        assert state is not None, "a level without monsters and time limit does not end"
        return state


def screen_sizes() -> tuple[Bucket, ...]:
    """Of the pictures that the engine can draw, by their area.

    Raises:
        ValueError: The package vizdoom is not installed.
    """
    names = [name for name in dir(_vizdoom().ScreenResolution) if name.startswith("RES_")]
    sides = [name.removeprefix("RES_").split("X") for name in names]
    return tuple(sorted((Bucket(int(height), int(width)) for width, height in sides), key=_area))


def _area(size: Bucket) -> int:
    return size.height * size.width


def _vizdoom() -> Any:
    try:
        import vizdoom
    except ModuleNotFoundError as error:
        raise ValueError(
            "walks through a dungeon need the package vizdoom: pip install -e '.[vizdoom]'"
        ) from error
    return vizdoom


def _segment(line: Any) -> list[tuple[float, float]]:
    return [(line.x1, line.y1), (line.x2, line.y2)]


def _middle(points: list[tuple[float, float]]) -> tuple[float, ...]:
    """Of the box around points."""
    return tuple(((np.min(points, axis=0) + np.max(points, axis=0)) / 2).tolist())
