"""Measures without rollout as part of runs: right values, how many videos, done once, no key of a stage."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from fixtures import tiny_config
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.without_rollout import COLUMNS, read_rows, section_errors_file, steps_file, write_rows
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.evaluation_videos import section_errors
from fp_lab.lab.sampling.without_rollout import measure_without_rollout, videos_of, without_rollout_key
from fp_lab.recipe.orders import Section


@pytest.fixture(scope="module")
def measured(folder: Path, config: ExperimentConfig, materials: Materials) -> RunFolder:
    """An arm that is not trained, with made-up errors of sampled sections."""
    run = RunFolder(folder / "runs" / "arm" / "seed0")
    build_model(config, 4).save(run.model)
    about = {"video": 0, "prompt": "", "seed": 0, "measure": "section_error", "of": "section", "place": 0}
    write_rows(section_errors_file(run), [about | {"frames": 3, "value": 0.25}])
    assert measure_without_rollout(run, config, "key", materials, Reporter())
    return run


def test_errors_of_sampled_sections_are_mean_squares_against_the_truth() -> None:
    true = torch.randn(2, 4, 7, 3, 3)
    sampled = true.clone()
    sampled[:, :, 1:4] += 2.0
    sampled[1, :, 5] -= 3.0
    sections = [Section((4, 5, 6), frozenset({0})), Section((1, 2, 3), frozenset({0, 4, 5, 6}))]
    expected = torch.tensor([[0.0, 4.0], [3.0, 4.0]])
    torch.testing.assert_close(section_errors(sampled, true, sections), expected, atol=1e-5, rtol=0)


def test_a_run_has_a_row_per_video_level_and_section(measured: RunFolder, config: ExperimentConfig) -> None:
    rows = read_rows(steps_file(measured))
    assert tuple(rows.columns) == COLUMNS
    counts = rows.groupby(["measure", "of"], sort=False).size().to_dict()
    assert counts == {
        ("velocity_error", "section"): 6,  # two videos of three sections
        ("influence", "f2k2"): 2,
        ("influence_noise", "f2k2"): 2,
        ("influence", "f1k1"): 2,
        ("influence_noise", "f1k1"): 2,
        ("section_error", "section"): 1,
    }
    assert rows["value"].notna().all()
    # the untrained base predicts 0 whatever it is given
    assert set(rows.loc[rows["measure"] == "influence", "value"]) == {0.0}
    assert rows.loc[rows["measure"] == "section_error", "value"].tolist() == [0.25]


def test_an_untrained_model_is_off_by_the_truth_over_the_noise_level(
    measured: RunFolder, config: ExperimentConfig, materials: Materials
) -> None:
    """It predicts x_0 = 0, so its velocity x / sigma is off by x_0 / sigma."""
    rows = read_rows(steps_file(measured))
    found = rows[rows["measure"] == "velocity_error"].pivot_table(
        index="video", columns="place", values="value"
    )
    latents = materials.evaluation(config).latents
    for video, sigma in ((0, 0.95), (1, 0.8)):
        for place in range(3):
            section = latents[video, :, 1 + 3 * place : 4 + 3 * place]
            expected = float((section / sigma).square().mean())
            assert found.loc[video, place] == pytest.approx(expected, rel=1e-4)


def test_it_is_measured_once_per_key_and_again_where_a_file_is_damaged(
    measured: RunFolder, config: ExperimentConfig, materials: Materials
) -> None:
    assert not measure_without_rollout(measured, config, "key", materials, Reporter())
    before = read_rows(steps_file(measured))
    steps_file(measured).write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"steps\.parquet"):
        read_rows(steps_file(measured))
    assert measure_without_rollout(measured, config, "key", materials, Reporter())
    pd.testing.assert_frame_equal(read_rows(steps_file(measured)), before)


def test_videos_are_as_many_as_a_small_share_of_sampling_pays_for(folder: Path) -> None:
    """9 frames in sections of 3 and two levels: 3 calls for errors and 6 for influence of each video."""

    def count(*settings: str) -> int:
        return videos_of(tiny_config(folder, ["evaluation.videos=64", *settings]))

    # sampled are 2 histories x 3 sections x 20 steps x 64 videos = 7680 calls, of which 3.5 % are 268
    assert count("sampling.solver.steps=20") == 268 // 9
    assert count("sampling.solver.steps=20", "sampling.guidance=2") == 537 // 9
    assert count("sampling.solver.steps=200") == 64
    assert count("sampling.solver.steps=1") == 3, "a video for every noise level at least"
    assert count("recipe=g3", "sampling.solver.steps=2") == 26 // 3
    assert count("evaluation.without_rollout=5") == 5
    assert count("evaluation.without_rollout=0") == 0
    assert count("evaluation.without_rollout=99") == 64


def test_no_videos_are_no_measures(tmp_path: Path, config: ExperimentConfig, materials: Materials) -> None:
    none = tiny_config(tmp_path, ["evaluation.without_rollout=0"])
    run = RunFolder(tmp_path / "run")
    assert not measure_without_rollout(run, none, "key", materials, Reporter())
    assert read_rows(steps_file(run)).empty
    assert without_rollout_key("a", none) != without_rollout_key("b", none)
    assert without_rollout_key("a", none) != without_rollout_key("a", config)
