"""Contrasts of arms: pairs by prompt and seeds, seeds averaged, the figures that fp_metrics gives."""

import numpy as np
import pandas as pd
import pytest

from fp_lab.lab.contrasts import adjust, contrast, paired_values
from fp_metrics import holm, paired_interval
from fp_metrics.significance import paired_permutation


def videos() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        {"arm": arm, "cluster": f"prompt {prompt}", "seed": seed, "training_seed": 0}
        for arm in ("one", "other", "third")
        for prompt in range(9)
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows).assign(value=random.normal(size=len(rows)))
    table.loc[table["arm"] == "one", "value"] += 2
    return table


def test_a_contrast_is_of_prompts_and_leaves_unpaired_videos_out() -> None:
    table = videos()
    table.loc[(table["arm"] == "other") & (table["cluster"] == "prompt 3"), "value"] = np.nan
    found = contrast(paired_values(table, "value"), "one", "other", "clarity")
    kept = table[table["cluster"] != "prompt 3"]
    means = kept.groupby(["arm", "cluster"])["value"].mean()
    differences = (means["one"] - means["other"]).to_numpy()
    assert len(differences) == 8
    assert found.p == paired_permutation(differences)
    assert found.difference == paired_interval(differences, np.zeros(8))
    assert found.difference.mean == pytest.approx(differences.mean())
    assert (found.first, found.second, found.column) == ("one", "other", "clarity")
    assert not found.significant, "not corrected yet"


def test_contrasts_made_together_are_corrected_together() -> None:
    values = paired_values(videos(), "value")
    pairs = [("one", "other"), ("one", "third"), ("other", "third")]
    found = adjust([contrast(values, *pair, "clarity") for pair in pairs])
    assert [c.adjusted for c in found] == holm([c.p for c in found]).tolist()
    assert [c.significant for c in found] == [True, True, False]
    assert adjust([]) == []


def test_arms_without_a_common_video_have_no_p() -> None:
    table = videos()
    table = table[(table["arm"] != "other") | (table["seed"] == 2)]
    missing = table[table["arm"] == "one"].assign(arm="other", value=np.nan)
    found = contrast(paired_values(pd.concat((table, missing)), "value"), "one", "other", "clarity")
    assert np.isnan(found.p)
    assert np.isnan(found.difference.mean)
    (alone,) = adjust([found])
    assert not alone.significant
