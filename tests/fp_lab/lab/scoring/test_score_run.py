"""Scores of runs, and of the ground truth, on renders that are spoilt in known ways."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import fake_runs
from fake_runs import CONTROL, INVERTED, VANILLA
from fixtures import tiny_config
from fp_data.worlds import WorldConfig, render
from fp_lab.lab.files.video_batch import GIVEN, Videos
from fp_lab.lab.materials.videos import evaluation_videos
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.files import headline
from fp_lab.lab.scoring.forgetting import truly_shown
from fp_lab.lab.scoring.score_run import score_run
from fp_lab.lab.scoring.world_truth import world_truths


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = {VANILLA: fake_runs.vanishing, INVERTED: fake_runs.faithful, CONTROL: fake_runs.noise}
    return fake_runs.fake_grid(tmp_path_factory.mktemp("grid"), arms, videos=3)


def summary(grid: Path, arm: str) -> dict:
    return json.loads((grid / arm / "seed0" / "scores" / "summary.json").read_text())


def videos(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores" / "videos.parquet")


def test_the_truth_as_own_history_drifts_no_more_than_the_noise_floor(grid: Path) -> None:
    floor = videos(grid / "truth").query("history == 'truth'").set_index(["video", "estimator"])["drift"]
    own = (
        videos(grid / INVERTED / "seed0").query("history == 'own'").set_index(["video", "estimator"])["drift"]
    )
    pd.testing.assert_series_equal(own.sort_index(), floor.sort_index())
    anatomy = summary(grid, INVERTED)["estimators"]["world/shape-iou"]
    assert anatomy["own"]["drift"]["mean_absolute"]["mean"] == anatomy["own"]["drift"]["noise_floor"] < 0.02
    assert anatomy["own"]["value"]["mean"] > 0.97
    assert anatomy["exposure_gap"]["value"]["mean"] == 0


def test_an_object_that_vanishes_halfway_is_a_negative_drift(grid: Path) -> None:
    found = summary(grid, VANILLA)["estimators"]
    for estimator in ("world/shape-iou", "world/look-against-first", "world/caption-readback"):
        drift = found[estimator]["own"]["drift"]
        assert drift["signed"]["mean"] < -0.9
        assert drift["mean_absolute"]["mean"] == pytest.approx(-drift["signed"]["mean"])
        assert drift["noise_floor"] < 0.1
    sections = found["world/shape-iou"]["exposure_gap"]["sections"]
    assert sections[0] == 0
    assert sections[-1] > 0.9  # true history keeps the object
    assert found["world/shape-iou"]["true"]["drift"]["mean_absolute"]["mean"] < 0.02


def test_generation_order_turns_the_sign_of_an_inverted_arms_drift(tmp_path: Path) -> None:
    config = fake_runs.experiment(INVERTED, videos=1)
    config = replace(config, evaluation=replace(config.evaluation, families=("world",)))
    fake_runs.fake_run(tmp_path, config, fake_runs.vanishing)
    own = score_run(tmp_path, config, workers=1)["estimators"]["world/shape-iou"]["own"]
    assert own["drift"]["signed"]["mean"] < -0.9
    assert own["generation_drift"]["signed"]["mean"] > 0.9  # the last frames were made first


def test_noise_loses_in_every_score_that_it_should(grid: Path) -> None:
    noisy, good = (headline(summary(grid, arm)) for arm in (CONTROL, INVERTED))
    for key in ("world/anatomy", "world/identity", "world/clarity", "plain/motion", "companion/psnr"):
        assert noisy[key] < good[key] - 0.02, key


def test_what_cannot_be_measured_is_null_with_its_reason(grid: Path) -> None:
    text = (grid / VANILLA / "seed0" / "scores" / "summary.json").read_text()
    assert "NaN" not in text
    anatomy = json.loads(text)["estimators"]["plain/no-known-shape"]["own"]
    assert anatomy["value"]["mean"] is None
    assert "true shape" in anatomy["reasons"][0]
    rows = videos(grid / VANILLA / "seed0").query("estimator == 'plain/no-known-shape'")
    assert rows["value"].isna().all()
    assert rows["reason"].notna().all()


def test_frames_are_kept_in_long_form(grid: Path) -> None:
    frames = pd.read_parquet(grid / VANILLA / "seed0" / "scores" / "frames.parquet")
    wanted = {"video", "prompt", "seed", "history", "estimator", "score", "family", "frame", "value"}
    assert wanted <= set(frames.columns)
    assert set(frames["history"]) == {"own", "true"}
    psnr = frames.query("estimator == 'companion/psnr' and history == 'own' and video == 0")[
        "value"
    ].to_numpy()
    assert len(psnr) == 21
    assert (psnr[:10] == 100).all()  # equal to the truth
    assert (psnr[10:] < 40).all()


def test_processes_do_not_change_figures(tmp_path: Path) -> None:
    config = fake_runs.experiment(VANILLA, videos=2, frames=7, size=16)
    fake_runs.fake_run(tmp_path / "x" / "seed0", config, fake_runs.vanishing)
    alone = score_run(tmp_path / "x" / "seed0", config, workers=1)
    calls: list[int] = []

    class Listening(Reporter):
        def advance(self, done: int, note: str = "") -> None:
            calls.append(done)

    together = score_run(tmp_path / "x" / "seed0", config, workers=2, reporter=Listening())
    assert json.dumps(alone) == json.dumps(together)
    assert calls == [1, 2]


def test_samples_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    config = fake_runs.experiment(VANILLA, videos=2, frames=7, size=16)
    with pytest.raises(ValueError, match=r"own\.safetensors: .*\bfp-lab generate\b"):
        score_run(tmp_path, config)
    fake_runs.fake_run(tmp_path, config, fake_runs.faithful)
    other = replace(config, recipe=INVERTED)
    fake_runs.sample_videos(other, fake_runs.faithful).save(tmp_path / "samples" / "true.safetensors")
    with pytest.raises(ValueError, match=rf"{tmp_path.name}: .*\bvideos or sections\b"):
        score_run(tmp_path, config)


def test_videos_survive_their_file_and_know_their_sections(tmp_path: Path) -> None:
    frames = torch.arange(2 * 4 * 8 * 8 * 3).reshape(2, 4, 8, 8, 3).to(torch.uint8)
    made = Videos(frames, ("a", ""), (3, 4), (GIVEN, 1, 1, 0), 8.0, ("content of a", "content of b"))
    made.save(tmp_path / "v.safetensors")
    read = Videos.load(tmp_path / "v.safetensors")
    assert torch.equal(read.frames, frames)
    assert (read.captions, read.seeds, read.order, read.fps) == (("a", ""), (3, 4), (GIVEN, 1, 1, 0), 8.0)
    assert read.prompts == ("a", "sha256:content of b")
    assert read.sections == ((3,), (1, 2))
    assert read.generated == (3, 1, 2)
    content = (tmp_path / "v.safetensors").read_bytes()
    for again in range(4):
        made.save(tmp_path / f"{again}.safetensors")
        assert (tmp_path / f"{again}.safetensors").read_bytes() == content
    (tmp_path / "v.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"/v\.safetensors: .*damaged"):
        Videos.load(tmp_path / "v.safetensors")


@pytest.mark.parametrize(("variant", "captions"), [("plain", 6), ("curtain", 3), ("walk", 3), ("mnist", 1)])
def test_scenes_that_captions_do_not_tell_are_prompts_of_their_own(
    variant: str, captions: int, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, [f"data.world.variant={variant}", "evaluation.videos=6"])
    videos = evaluation_videos(config)
    assert len(set(videos.captions)) == captions
    assert len(set(videos.prompts)) == 6
    videos.save(tmp_path / "v.safetensors")
    assert Videos.load(tmp_path / "v.safetensors").prompts == videos.prompts
    clips = replace(videos, own_scenes=False)
    assert len(set(clips.prompts)) == captions, "windows of clips with one caption may be of one clip"


@pytest.mark.parametrize("variant", ["plain", "occlusion", "camera", "revisit"])
def test_truth_is_the_world_itself(variant: str) -> None:
    config = WorldConfig(size=32, frames=5, variant=variant)
    (truth,) = world_truths(config, [7])
    world = render(config, [7])
    assert torch.equal(truth.frames, world.frames[0])
    assert torch.equal(truth.masks, world.masks[0, :, 0])
    scene = truth.positions if truth.view is None else truth.positions + truth.view
    still = render(replace(config, variant="plain"), [7])
    torch.testing.assert_close(scene, still.positions[0, :, 0])
    assert (truth.view is not None) == (variant in ("camera", "revisit"))
    step = (scene[1] - scene[0]).norm()
    torch.testing.assert_close(step, torch.tensor(truth.speed))


def test_other_things_than_one_moving_sprite_have_no_truth_for_what_follows_one() -> None:
    for config in (WorldConfig(sprites=2), WorldConfig(variant="curtain", sprites=1)):
        with pytest.raises(ValueError, match=r"expected .*\bsprite\b.*families=\[plain\]"):
            world_truths(config, [0])


def test_a_still_scene_is_scored_by_what_applies_and_by_what_comes_back(tmp_path: Path) -> None:
    world = WorldConfig(frames=45, variant="curtain")
    folder = fake_runs.fake_grid(tmp_path, {VANILLA: fake_runs.repainting}, videos=2, world=world)
    scored = summary(folder, VANILLA)
    assert {one["family"] for one in scored["estimators"].values()} == {"plain", "companion"}
    assert set(scored["protocol"]["left_out"]) == {"probe", "world"}
    assert "follows one moving object" in scored["protocol"]["left_out"]["world"]
    kept = json.loads((folder / VANILLA / "seed0" / "scores" / "forgetting.json").read_text())["histories"]
    for video in kept["own"]:  # other colours from frame 22 on
        back = {(one["kind"], one["gap"]): one for one in video if one["gap"]}
        assert {kind for kind, _ in back} == {"place", "recall", "told"}
        assert max(one["psnr"] for (kind, _), one in back.items() if kind == "recall") < 40
    assert {one["agreement"] for video in kept["own"] for one in video if one["kind"] == "told"} == {0, 1}, (
        "green stays green"
    )
    true = [one for video in kept["true"] for one in video if one["kind"] in ("recall", "told")]
    assert min(one["agreement"] for one in true) > 0.999


def test_how_much_of_the_truth_each_frame_was_made_from() -> None:
    inverted = ((4, 5, 6), (1, 2, 3))
    assert truly_shown(inverted, 7, true_history=False) == (1,) * 7
    assert truly_shown(inverted, 7, true_history=True) == (1, 1, 1, 1, 4, 4, 4)
    assert truly_shown((), 7, true_history=False) is None
