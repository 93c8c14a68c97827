"""How often `compare` tells recipes apart: equal ones, and ones whose difference is the spread of trainings.

    python benchmarks/equal_recipes.py [--experiments 200] [--seeds 3 5] [--prompts 16]

No training: scores of two recipes are drawn at random, with as much spread between trainings as between
videos, and laid before `compare` as it reads them from folders. A verdict, a star, or a figure that is not
marked `=` beside the best one is a recipe told apart; of equal recipes at most one in twenty should be.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fp_lab.lab.compare.comparison import Comparison, compare
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.results.run_index import Measure
from fp_lab.recipe import parse

ARMS = ("td_f16k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td")
ESTIMATOR, SCORE = "world/shape-iou", "anatomy"
_LEVEL = 20.0  # far from 0, so that sizes of drifts are drifts


def main() -> None:
    """Draw the experiments, print how many tell the recipes apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5], help="training seeds per recipe")
    parser.add_argument("--prompts", type=int, default=16)
    asked = parser.parse_args()
    print("recipes told apart, % of experiments")
    print("trainings  difference  verdict  stars  not =")
    for seeds in asked.seeds:
        for difference in (0.0, 1.0, 2.0, 4.0):
            found = told_apart(asked.experiments, seeds, asked.prompts, difference)
            figures = "".join(f"{100 * share:7.1f}" for share in found)
            print(f"{seeds:9d}  {difference:10.1f}  {figures}")


def told_apart(experiments: int, seeds: int, prompts: int, difference: float) -> tuple[float, float, float]:
    """Shares of experiments in which verdict, stars and `=` marks tell two recipes apart.

    Args:
        experiments: how many.
        seeds: trainings of each recipe.
        prompts: videos of each training.
        difference: of the recipes, in spreads of trainings, which is that of videos too.
    """
    random = np.random.default_rng(0)
    found = [
        _marks(compare(experiment(random, [0.0, difference], seeds, prompts))) for _ in range(experiments)
    ]
    verdict, stars, apart = np.mean(found, axis=0).tolist()
    return verdict, stars, apart


def experiment(random: np.random.Generator, means: Sequence[float], seeds: int, prompts: int) -> Gathered:
    """Scores as they are read from folders, of one recipe per mean."""
    names = ARMS[: len(means)]
    rows = [
        {"arm": name, "training_seed": seed, "video": prompt, "prompt": f"prompt {prompt}", "seed": prompt}
        for name in names
        for seed in range(seeds)
        for prompt in range(prompts)
    ]
    shape = len(means), seeds, prompts
    trainings = random.normal(size=shape[:2])[:, :, None]
    values = _LEVEL + np.reshape(means, (-1, 1, 1)) + trainings + random.normal(size=shape)
    videos = pd.DataFrame(rows).assign(
        **{"estimator": ESTIMATOR, "score": SCORE, "family": "world"},
        **{"value": values.ravel(), "drift": values.ravel(), "exposure_gap": np.nan},
        **{"reason": None, "drift_reason": None, "exposure_reason": None},
    )
    arms = tuple(
        Arm(name, parse(name), name, None, tuple(range(seeds)), (Path("runs/made_up", name, "seed0"),))
        for name in names
    )
    nothing = pd.DataFrame(columns=["arm", "history"])
    return Gathered(
        arms=arms,
        videos=videos,
        floor_videos=nothing,
        measures={ESTIMATOR: Measure("[0, 1]", higher_is_better=True)},
        efficiency=nothing,
        codebooks=nothing,
        protocol={},
        truths=(),
        waiting=(),
    )


def _marks(comparison: Comparison) -> tuple[bool, bool, bool]:
    """Whether verdict, stars and `=` of the table of scores tell the two arms apart."""
    verdict = any(contrast.significant for contrast in comparison.verdict.arm_contrasts)
    cells = [line.cells[0] for line in comparison.table("score-world").lines]
    return verdict, any(cell.stars for cell in cells), not any(cell.tie for cell in cells)


if __name__ == "__main__":
    main()
