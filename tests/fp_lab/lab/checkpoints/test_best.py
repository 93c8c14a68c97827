"""The best checkpoint and its ties, from made-up scores whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from fp_lab.lab.checkpoints.best import Goal, best_checkpoint
from fp_lab.lab.config import TrackConfig

CLARITY = "plain/denoised-sharpness"


def videos(
    means: dict[int, float], *, noise: float = 0.01, count: int = 24, drift: float = 0.0
) -> pd.DataFrame:
    """Scores of the same videos at each step: a level of their own, a mean per step, a little noise."""
    random = np.random.default_rng(0)
    level = random.normal(0, 1, count)
    tables = [
        pd.DataFrame(
            {
                "step": step,
                "estimator": CLARITY,
                "family": "plain",
                "score": "clarity",
                "seed": range(count),
                "prompt": [f"prompt {seed}" for seed in range(count)],
                "value": mean + level + random.normal(0, noise, count),
                "drift": (-1.0) ** np.arange(count) * (drift + mean),
            }
        )
        for step, mean in means.items()
    ]
    return pd.concat(tables, ignore_index=True)


def test_goals_are_read_and_written() -> None:
    goal = Goal.parse("world/anatomy.drift")
    assert (goal.family, goal.score, goal.drift) == ("world", "anatomy", True)
    assert str(goal) == "world/anatomy.drift"
    assert str(Goal.parse("plain/clarity")) == "plain/clarity"
    for wrong in ("clarity", "plain/", "/drift", ""):
        with pytest.raises(ValueError, match="expected family/score"):
            Goal.parse(wrong)
        with pytest.raises(ValueError, match=r"track\.best: got"):
            TrackConfig(best=wrong)


def test_the_highest_score_is_best_where_more_is_better() -> None:
    best = best_checkpoint(videos({10: 0.0, 20: 0.8, 30: 0.4}), Goal.parse("plain/clarity"))
    assert best is not None
    assert (best.step, best.ties) == (20, ())


def test_differences_are_taken_video_by_video() -> None:
    """Levels differ by 1 between videos, steps by 0.1: intervals overlap widely, differences are clear."""
    best = best_checkpoint(videos({10: 0.0, 20: 0.1}), Goal.parse("plain/clarity"))
    assert best is not None
    assert (best.step, best.ties) == (20, ())
    assert best.figure.high - best.figure.low > 0.5


def test_steps_within_the_noise_tie() -> None:
    best = best_checkpoint(videos({10: 0.0, 20: 1.0, 30: 1.0}, noise=0.5), Goal.parse("plain/clarity"))
    assert best is not None
    assert {best.step, *best.ties} == {20, 30}


def test_the_least_drift_is_best_whatever_its_sign() -> None:
    best = best_checkpoint(videos({10: 0.9, 20: 0.1, 30: 0.5}), Goal.parse("plain/clarity.drift"))
    assert best is not None
    assert best.step == 20
    assert best.figure.mean == pytest.approx(0.1)


def test_a_step_that_stands_still_is_not_the_best() -> None:
    scores = videos({10: 0.9, 20: 0.0, 30: 0.5})
    goal = Goal.parse("plain/clarity.drift")
    moving = best_checkpoint(scores.assign(frozen=scores["step"] == 20), goal)
    assert moving is not None
    assert moving.step == 30
    all_still = best_checkpoint(scores.assign(frozen=True), goal)
    assert all_still is not None
    assert all_still.step == 20


def test_one_video_tells_nothing_apart() -> None:
    best = best_checkpoint(videos({10: 0.0, 20: 5.0}, count=1), Goal.parse("plain/clarity"))
    assert best is not None
    assert (best.step, best.ties) == (20, (10,))


def test_undefined_scores_have_no_best() -> None:
    nothing = videos({10: float("nan"), 20: float("nan")})
    assert best_checkpoint(nothing, Goal.parse("plain/clarity")) is None


def test_what_is_not_measured_is_refused_with_what_is() -> None:
    with pytest.raises(ValueError, match=r"world/clarity; .*plain/clarity"):
        best_checkpoint(videos({10: 0.0}), Goal.parse("world/clarity"))


def test_the_lowest_score_is_best_where_less_is_better() -> None:
    rows = videos({10: 0.0, 20: 1.0}).assign(estimator="offline/niqe", family="offline")
    best = best_checkpoint(rows, Goal.parse("offline/clarity"))
    assert best is not None
    assert best.step == 10
