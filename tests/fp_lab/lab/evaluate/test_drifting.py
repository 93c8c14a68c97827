"""What is called real: differences of two sets and drifts of one, in experiments where there are none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bad_videos
from fp_data.read_video import write_mp4
from fp_lab.lab.evaluate.against import compare_folders
from fp_lab.lab.evaluate.drifting import drifts
from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.evaluate.score_file import Measuring
from fp_lab.lab.evaluate.score_folders import score_folders
from fp_lab.lab.report.scores_page import write_scores_page
from fp_lab.lab.tables import to_latex
from fp_metrics import FAMILIES

OFFLINE = FAMILIES["offline"]


def results(random: np.random.Generator, count: int, drift: float = 0.0, scores: int = 11) -> Results:
    """Of videos of the same prompts by one model: heavy-tailed scores, and drifts about a mean."""
    prompts = np.random.default_rng(0).normal(size=(scores, count))
    values = prompts + 0.5 * random.standard_t(4, size=prompts.shape)
    drifted = drift + 0.3 * random.standard_t(4, size=prompts.shape)
    rows = [
        {"file": f"{index}.mp4", "group": "all", "prompt": f"prompt {index}", "seed": index}
        | {"estimator": name, "value": values[number, index], "drift": drifted[number, index]}
        for number, name in enumerate(list(OFFLINE)[:scores])
        for index in range(count)
    ]
    described = {
        name: {"score": kind.score, "higher_is_better": kind.higher_is_better}
        for name, kind in list(OFFLINE.items())[:scores]
    }
    flags = {"own": {"frozen_share": 0.0, "videos": count}}
    return Results({"protocol": {"estimators": described}, "flags": flags}, pd.DataFrame(rows))


def test_of_equal_models_hardly_any_table_calls_a_difference_real() -> None:
    """At most 5 % of experiments: no more than 3 of 20, which 98 % of such rates give."""
    false = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        table = compare_folders(*(results(random, 16, scores=4) for _ in range(2)))
        false += any(cell.stars for line in table.lines for cell in line.cells)
    assert false <= 3


def test_without_drift_hardly_any_page_names_one() -> None:
    """At most 5 % of experiments over 11 scores; 95 % intervals, uncorrected, would name one in 43 %."""
    false = sum(bool(drifts(results(np.random.default_rng(seed), 16))["all"]) for seed in range(40))
    assert false <= 5  # 98 % of rates of 5 %
    assert drifts(results(np.random.default_rng(0), 15, drift=2.0)) == {"all": {}}, "too few prompts"
    assert drifts(results(np.random.default_rng(0), 16, drift=2.0))["all"].keys() == OFFLINE.keys()


def test_more_motion_is_neither_better_nor_worse(tmp_path: Path) -> None:
    """16 videos that move faster and faster: on the page, in tables, in LaTeX, in the stored summary."""
    steps = np.cumsum(np.repeat([1, 2, 3, 4], 5))
    for seed in range(16):
        write_mp4(
            tmp_path / f"{seed}.mp4", np.stack(bad_videos.moving(int(steps[-1]) + 1, seed=seed))[steps], 8
        )
    scores = score_folders([tmp_path], measuring=Measuring(("plain",), ("dynamic",)), workers=1)
    page = write_scores_page(scores, "fp-lab evaluate").read_text()
    assert "changes from start to end in plain/dis-top5-flow" in page
    assert "gets better" not in page
    assert "gets worse" not in page
    assert "<td>neither</td>" in page
    for table in scores.tables:
        assert not set("↑↓") & set(to_latex(table) + table.columns[0].title)
        assert table.columns[0].better is None
    assert scores.results.summary["estimators"]["plain/dis-top5-flow"]["higher_is_better"] is None
    assert scores.results.videos["worst"].isna().all()
    assert scores.results.videos["worst"].dtype == np.float64


@pytest.mark.parametrize("family", ["plain", "offline", "paper", "paper_vbench_compat"])
def test_the_dynamic_score_has_no_direction_in_any_family_for_any_video(family: str) -> None:
    kinds = [kind for kind in FAMILIES[family].values() if kind.score == "dynamic"]
    assert kinds
    assert all(kind.higher_is_better is None for kind in kinds)
