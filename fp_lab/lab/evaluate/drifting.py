"""Drifts of scored videos that can be told from none."""

import numpy as np

from fp_lab.lab.compare.contrasts import LEVEL
from fp_lab.lab.compare.paired_values import Panels
from fp_lab.lab.evaluate.results import Results
from fp_metrics import holm


def drifts(results: Results) -> dict[str, dict[str, float]]:
    """Find the significant mean drifts: group -> estimator -> mean of d.

    Each is tested as the differences of arms are, by sign flips over prompts, where there are prompts enough
    for a test; p-values are adjusted by Holm over all groups and estimators together.
    """
    tested: list[tuple[str, str, float, float]] = []
    for group, rows in results.videos.groupby("group", sort=False):
        panels = Panels(rows.assign(arm=group, training_seed=0).reset_index(drop=True))
        for name in dict.fromkeys(rows["estimator"]):
            panel = panels.panel(str(name), "drift")
            effects = panel.effects(panel.values)
            if effects.reliable.any():
                tested.append((str(group), str(name), float(effects.mean[0]), float(effects.p[0])))
    significant = holm(np.array([p for *_, p in tested])) < 1 - LEVEL
    found: dict[str, dict[str, float]] = {group: {} for group in results.groups}
    for (group, name, mean, _), real in zip(tested, significant, strict=True):
        if real:
            found[group][name] = mean
    return found
