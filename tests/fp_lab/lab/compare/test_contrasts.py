"""Contrasts of arms: pairs by prompt and seeds, seeds averaged, the figures that fp_metrics gives."""

import numpy as np
import pandas as pd
import pytest

from fp_lab.lab.compare.contrasts import adjust, contrasts
from fp_lab.lab.compare.paired_values import Panels
from fp_metrics import cluster_interval, holm
from fp_metrics.significance import paired_permutation


def videos() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        {"arm": arm, "prompt": f"prompt {prompt}", "seed": seed, "training_seed": 0, "estimator": "e"}
        for arm in ("one", "other", "third")
        for prompt in range(9)
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows).assign(value=random.normal(size=len(rows)), reason=None)
    table.loc[table["arm"] == "one", "value"] += 2
    return table


def test_a_contrast_is_of_prompts_and_leaves_unpaired_videos_out() -> None:
    table = videos()
    table.loc[(table["arm"] == "other") & (table["prompt"] == "prompt 3"), "value"] = np.nan
    (found,) = contrasts(Panels(table).panel("e", "value"), [("one", "other")], "clarity")
    kept = table[table["prompt"] != "prompt 3"]
    means = kept.groupby(["arm", "prompt"])["value"].mean()
    differences = (means["one"] - means["other"]).to_numpy()
    assert len(differences) == 8
    assert found.p == paired_permutation(differences)
    expected = cluster_interval(differences)
    assert found.difference.low == pytest.approx(expected.low, abs=1e-6)
    assert found.difference.high == pytest.approx(expected.high, abs=1e-6)
    assert found.difference.mean == pytest.approx(differences.mean())
    assert (found.first, found.second, found.column) == ("one", "other", "clarity")
    assert not found.significant, "not corrected yet"


def test_contrasts_made_together_are_corrected_together() -> None:
    panel = Panels(videos()).panel("e", "value")
    found = adjust(contrasts(panel, [("one", "other"), ("one", "third"), ("other", "third")], "clarity"))
    assert [c.adjusted for c in found] == holm([c.p for c in found]).tolist()
    assert [c.significant for c in found] == [True, True, False]
    assert adjust([]) == []


def test_arms_without_a_common_video_have_no_p() -> None:
    table = videos()
    apart = table[table["arm"] == "one"].assign(arm="apart", seed=2)
    panel = Panels(pd.concat((table, apart), ignore_index=True)).panel("e", "value")
    (found,) = contrasts(panel, [("one", "apart")], "clarity")
    assert np.isnan(found.p)
    assert np.isnan(found.difference.mean)
    (alone,) = adjust([found])
    assert not alone.significant
    assert contrasts(panel, [("one", "nobody")], "clarity") == []


def test_a_panel_pairs_videos_by_prompt_and_seed_whatever_their_order() -> None:
    table = videos()
    shuffled = table.sample(frac=1, random_state=1).reset_index(drop=True)
    straight, mixed = (Panels(t).panel("e", "value") for t in (table, shuffled))
    for arm in straight.arms:
        assert straight.intervals[arm].mean == pytest.approx(mixed.intervals[arm].mean)
    means = table.groupby(["arm", "prompt"])["value"].mean()
    expected = (means["one"] - means["third"]).mean()
    for panel in (straight, mixed):
        (found,) = contrasts(panel, [("one", "third")], "clarity")
        assert found.difference.mean == pytest.approx(expected)


def test_videos_without_a_prompt_are_told_apart_by_their_seed() -> None:
    table = videos().assign(prompt="")
    panel = Panels(table).panel("e", "value")
    assert panel.prompts == ("seed 0", "seed 1")


def test_equal_recipes_are_seldom_told_apart() -> None:
    """3 trainings of each, 16 prompts, as much spread between trainings as between videos, 150 experiments.

    Of videos that count as independent draws of a recipe 64 % of experiments would be significant at 5 %.
    """
    random, made = np.random.default_rng(0), []
    rows = [
        {"arm": arm, "prompt": f"prompt {prompt}", "seed": prompt, "training_seed": seed, "estimator": "e"}
        for arm in ("one", "other")
        for seed in range(3)
        for prompt in range(16)
    ]
    table = pd.DataFrame(rows).assign(reason=None)
    for _ in range(150):
        values = random.normal(size=(2, 3, 1)) + random.normal(size=(2, 3, 16))
        panel = Panels(table.assign(value=values.ravel())).panel("e", "value")
        made += adjust(contrasts(panel, [("one", "other")], "clarity"))
    assert np.mean([found.significant for found in made]) <= 0.08
    assert all(found.significant == found.difference.excludes(0) for found in made)


def test_a_difference_of_many_spreads_is_found_with_three_trainings() -> None:
    """And arms need not have the same training seeds, nor as many."""
    random = np.random.default_rng(1)
    tables = []
    for arm, seeds, mean in (("one", (0, 1, 2), 8.0), ("other", (5, 6, 7, 8), 0.0)):
        values = mean + random.normal(size=(len(seeds), 1)) + random.normal(size=(len(seeds), 16))
        tables += [
            pd.DataFrame(
                {"prompt": [f"prompt {p}" for p in range(16)], "seed": range(16), "value": own}
            ).assign(arm=arm, training_seed=seed, estimator="e", reason=None)
            for seed, own in zip(seeds, values, strict=True)
        ]
    panel = Panels(pd.concat(tables, ignore_index=True)).panel("e", "value")
    (found,) = adjust(contrasts(panel, [("one", "other")], "clarity"))
    assert found.significant
    assert found.difference.low < 8 < found.difference.high
    assert found.difference.clusters == 16
