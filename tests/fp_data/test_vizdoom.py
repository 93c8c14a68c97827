"""Walks through a level of Doom: the camera does what the script says, and what comes back looks the same."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fp_data.buckets import Bucket
from fp_data.clips import probe, read_video
from fp_data.vizdoom import MakeConfig, Poses, gaps, make_walks, read_poses
from fp_data.vizdoom.film import Frame, film
from fp_data.vizdoom.floor_plan import FloorPlan, free_ways
from fp_data.vizdoom.game import Game
from fp_data.vizdoom.script import Go, Script, Turn, write_script

SMALL = MakeConfig(frames=12, size=Bucket(120, 160))
ROOM = (240.0, -176.0)  # of the level, 160 x 160; a doorway of 64 is 80 to the east of its middle


@pytest.fixture(scope="module")
def game() -> Iterator[Game]:
    pytest.importorskip("vizdoom", reason="the extra vizdoom is not installed")
    with Game(SMALL.size) as game:
        yield game


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(one.astype(float) - other).mean(), 1e-9)))


def begins(frames: list[Frame]) -> list[Frame]:
    """The first frame of every move."""
    return [frame for i, frame in enumerate(frames) if i == 0 or frame.move is not frames[i - 1].move]


def test_a_return_shows_what_was_seen_first(game: Game) -> None:
    look = Turn(90, "left"), Turn(-90, "ahead")
    step = Go(320, ROOM[1], "out"), Go(*ROOM, "home")
    turn_round = Turn(180, "round"), Turn(180, "round"), Turn(5, "end")
    script = Script(*ROOM, 0.0, iter([*look, *step, *turn_round]))
    frames = list(film(game, script, seed=0))
    first, left, home, out, home_again, behind, end = begins(frames)
    for frame, (x, y, angle) in (
        (first, (*ROOM, 0)),
        (left, (*ROOM, 90)),
        (home, (*ROOM, 0)),
        (out, (320, ROOM[1], 0)),
        (home_again, (*ROOM, 0)),
        (behind, (*ROOM, 180)),
        (end, (*ROOM, 0)),
    ):
        assert np.hypot(frame.pose.x - x, frame.pose.y - y) < 1e-3
        assert abs((frame.pose.angle - angle + 180) % 360 - 180) < 0.01
    for back in (home, home_again, end):
        np.testing.assert_array_equal(back.picture, first.picture)
    pairs = np.random.default_rng(0).integers(len(frames), size=(50, 2))
    others = [psnr(frames[a].picture, frames[b].picture) for a, b in pairs if abs(a - b) > 3]
    assert max(np.mean(others), psnr(left.picture, first.picture), psnr(behind.picture, first.picture)) < 20
    before, after = frames[0].pose.angle, frames[1].pose.angle
    assert 0 < (after - before) % 360 < 20, "left is anticlockwise"


def test_written_walks_go_where_they_say_and_are_never_stopped_by_a_wall(game: Game) -> None:
    plan = game.floor_plan()
    free = free_ways(plan)
    homes = set()
    for seed in range(4):
        script = write_script(plan, free, seed)
        frames = list(itertools.islice(film(game, script, seed), 150))
        homes.add((script.x, script.y))
        marks = begins(frames)
        assert len(marks) >= 3
        assert (gaps(Poses(*np.array([frame.pose for frame in frames]).T)) > 0).any(), "something comes back"
        for done, after in itertools.pairwise(marks):
            if isinstance(done.move, Go):
                assert np.hypot(after.pose.x - done.move.x, after.pose.y - done.move.y) < 0.01
    assert len(homes) > 1


def test_ways_keep_clear_of_walls() -> None:
    wall = np.array([[[0.0, -100.0], [0.0, 30.0]]])
    places = np.array([[-100.0, 0.0], [100.0, 0.0], [-100.0, 60.0], [100.0, 60.0], [-100.0, 40.0]])
    free = free_ways(FloorPlan(wall, places))
    assert not free[0, 1], "the wall is across"
    assert free[2, 3], "30 beyond its end"
    assert not free[4, 1], "crosses it at 20"
    assert free[0, 2]
    assert not free[2, 4], "20 is no way"


def test_gaps_count_from_when_a_view_was_left() -> None:
    still = np.zeros(7)
    # to 30 degrees and back, then a place beyond
    there = Poses(np.array([0.0, 0, 0, 0, 0, 0, 50]), still, np.array([350.0, 0, 10, 20, 10, 0, 0]))
    assert gaps(there).tolist() == [0, 0, 0, 0, 2, 4, 0]
    assert gaps(Poses(still, still, still)).tolist() == [0] * 7, "it never left"


def test_a_seed_gives_the_same_bytes_and_whole_walks_are_left_alone(tmp_path: Path, game: Game) -> None:
    walks = list(make_walks(tmp_path / "two", [3, 4], SMALL))
    (alone,) = make_walks(tmp_path / "one", [4], SMALL)
    for suffix in (".mp4", ".txt", ".json"):
        assert alone.path.with_suffix(suffix).read_bytes() == walks[1].path.with_suffix(suffix).read_bytes()
        assert walks[0].path.with_suffix(suffix).read_bytes() != alone.path.with_suffix(suffix).read_bytes()
    assert alone.caption.startswith("a walk through a dungeon, ")
    video = probe(alone.path)
    assert (video.frames, video.height, video.width) == (12, 120, 160)
    assert read_poses(alone.path).angle.shape == (12,)

    walks[1].path.with_suffix(".json").unlink()
    kept = walks[0].path.stat().st_mtime_ns
    counts: list[int] = []
    list(make_walks(tmp_path / "two", [3, 4], SMALL, counts.append))
    assert walks[0].path.stat().st_mtime_ns == kept
    assert counts == [12, *range(12, 25)], "of the first nothing is filmed again"
    assert walks[1].path.with_suffix(".json").read_bytes() == alone.path.with_suffix(".json").read_bytes()
    with pytest.raises(ValueError, match="frames 12, not 13"):
        list(make_walks(tmp_path / "two", [4], MakeConfig(13, SMALL.size)))


def test_a_damaged_record_of_a_walk_is_named_with_what_to_do(tmp_path: Path, game: Game) -> None:
    for ending in ("mp4", "txt"):
        (tmp_path / f"walk-000003.{ending}").touch()
    for text in ("", "[" * 100_000, "3"):
        (tmp_path / "walk-000003.json").write_text(text)
        with pytest.raises(ValueError, match=r"walk-000003\.json: .*damaged.* anew\b"):
            next(make_walks(tmp_path, [3]))


def test_other_sizes_are_cut_from_the_next_larger_screen(tmp_path: Path, game: Game) -> None:
    (small,) = make_walks(tmp_path, [0], MakeConfig(2, Bucket(64, 64)))
    (large,) = make_walks(tmp_path / "large", [0], MakeConfig(2, Bucket(120, 160)))
    one, other = next(read_video(small.path)), next(read_video(large.path, size=(64, 85)))
    assert one.shape == (64, 64, 3)
    assert psnr(one, other[:, 10:74]) > 25
    with pytest.raises(ValueError, match=r"1088.*1920.* 1080x1920"):
        list(make_walks(tmp_path, [1], MakeConfig(2, Bucket(1088, 1920))))


def test_without_the_extra_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[vizdoom\]'"):
        list(make_walks(tmp_path, [0], SMALL))
    with pytest.raises(ValueError, match=r"walk\.json"):
        read_poses(tmp_path / "walk.mp4")


def test_moves_are_told_with_the_frames_where_they_begin(tmp_path: Path, game: Game) -> None:
    (walk,) = make_walks(tmp_path, [1], MakeConfig(60, SMALL.size))
    moves = json.loads(walk.path.with_suffix(".json").read_text())["moves"]
    assert moves[0]["frame"] == 0
    assert len(moves) > 1
    assert {move["does"] for move in moves} == set(walk.caption.split(", ")[1:])
