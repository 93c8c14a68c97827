"""Intervals and tests of many arms at once: what one at a time gives, and what scipy and statsmodels give."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fp_metrics import cluster_interval, holm, paired_permutation
from fp_metrics.intervals import cluster_intervals, expanded
from fp_metrics.significance import least_p, paired_permutations

NAN = float("nan")


@pytest.mark.parametrize("count", [2, 3, 16, 40])
def test_batched_intervals_are_those_of_one_arm_at_a_time(count: int) -> None:
    means = np.random.default_rng(count).normal(size=(300, count)) ** 3
    means[5, 1:] = NAN
    means[7] = 2.5
    for row, found in zip(means, cluster_intervals(means), strict=True):
        one = cluster_interval(row)
        assert (found.mean, found.clusters, found.reliable) == (one.mean, one.clusters, one.reliable)
        width = max(float(np.nanmax(np.abs(row))), 1.0)
        assert [found.low, found.high] == pytest.approx([one.low, one.high], abs=1e-6 * width, nan_ok=True)


@pytest.mark.parametrize("count", [16, 40])
def test_batched_intervals_are_scipys_bca_with_the_same_draws(count: int) -> None:
    """To a rank; with few clusters many resamples tie with the sample, which scipy's rounding decides."""
    means = np.random.default_rng(count).gamma(2, size=(5, count))
    for row, found in zip(means, cluster_intervals(means, level=0.9, seed=3), strict=True):
        reference = stats.bootstrap(
            (row,),
            np.mean,
            confidence_level=expanded(0.9, count),
            n_resamples=2000,
            method="BCa",
            random_state=np.random.default_rng(3),
        ).confidence_interval
        rank = 2e-3 * (reference.high - reference.low)
        assert [found.low, found.high] == pytest.approx([reference.low, reference.high], abs=rank)


def test_arms_with_other_clusters_do_not_change_each_other() -> None:
    means = np.random.default_rng(0).normal(size=(4, 20))
    holes = means.copy()
    holes[1, ::3] = NAN
    whole, torn = cluster_intervals(means), cluster_intervals(holes)
    assert torn[1].clusters == 13
    assert torn[1].mean == pytest.approx(np.nanmean(holes[1]))
    for index in (0, 2, 3):
        assert torn[index].low == pytest.approx(whole[index].low, abs=1e-6)
    nothing = cluster_intervals(np.full((1, 3), NAN))[0]
    assert nothing.clusters == 0
    assert np.isnan(nothing.mean)


@pytest.mark.parametrize("count", [1, 2, 9, 17, 20])
def test_batched_sign_flips_are_those_of_one_contrast_at_a_time(count: int) -> None:
    means = np.random.default_rng(count).normal(0.3, 1, size=(70, count)).round(1)
    means[3, 0] = NAN
    found = paired_permutations(means)
    for row in (0, 3, 69):
        assert found[row] == pytest.approx(paired_permutation(means[row]), nan_ok=True)


def test_sign_flips_count_every_pattern() -> None:
    means = np.random.default_rng(1).normal(0.5, 1, size=(6, 10)).round(1)
    patterns = 1 - 2 * ((np.arange(2**10)[:, None] >> np.arange(10)) & 1)
    sums = np.abs(patterns @ means.T) + 1e-9
    assert paired_permutations(means).tolist() == (sums >= np.abs(means.sum(1))).mean(0).tolist()


@pytest.mark.parametrize("count", [2, 9, 17, 25])
def test_the_least_p_is_reached_by_differences_of_one_sign(count: int) -> None:
    assert paired_permutation(np.linspace(1, 2, count)) == least_p(count)


def test_holm_is_statsmodels() -> None:
    p = np.random.default_rng(2).uniform(0, 0.2, size=50).round(2)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
