"""Intervals against scipy, degenerate data, coverage, and Holm's correction by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from fp_metrics import cluster_interval, holm, paired_interval
from fp_metrics.statistics import cluster_means


def test_cluster_means_leave_out_nan_and_keep_the_order() -> None:
    means = cluster_means([1, 3, float("nan"), 10, 20, float("nan")], ["b", "b", "b", "a", "a", "c"])
    assert means.tolist() == [2, 15]
    with pytest.raises(ValueError, match="got 1 cluster labels for 2 values"):
        cluster_means([1, 2], ["a"])


def test_the_interval_is_scipys_bca_over_cluster_means() -> None:
    random = np.random.default_rng(5)
    values, clusters = random.exponential(size=60), np.repeat(np.arange(20), 3).tolist()
    ours = cluster_interval(values, clusters, resamples=999, seed=7)
    means = values.reshape(20, 3).mean(1)
    reference = stats.bootstrap(
        (means,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(7)
    )
    assert (ours.low, ours.high) == pytest.approx(tuple(reference.confidence_interval))
    assert ours.mean == pytest.approx(means.mean())
    assert ours.clusters == 20
    assert ours.reliable
    again = cluster_interval(values, clusters, resamples=999, seed=7)
    assert again == ours


def test_seeds_nested_in_prompts_do_not_narrow_the_interval() -> None:
    prompts = np.random.default_rng(0).normal(size=20)
    once = cluster_interval(prompts, resamples=500)
    copied = cluster_interval(np.repeat(prompts, 8), np.repeat(np.arange(20), 8).tolist(), resamples=500)
    assert copied == once
    naive = cluster_interval(np.repeat(prompts, 8), resamples=500)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


@pytest.mark.parametrize(
    ("values", "mean", "low", "high"),
    [
        ([], math.nan, math.nan, math.nan),
        ([2.0], 2.0, math.nan, math.nan),
        ([2.0, 2.0, 2.0], 2.0, 2.0, 2.0),
        ([float("nan"), 3.0], 3.0, math.nan, math.nan),
        ([0.1 + 0.2, 0.3, 0.3], 0.3, 0.3, 0.3),
    ],
)
def test_degenerate_data_gives_no_warning(values: list[float], mean: float, low: float, high: float) -> None:
    interval = cluster_interval(values)
    assert [interval.mean, interval.low, interval.high] == pytest.approx([mean, low, high], nan_ok=True)
    assert not interval.reliable
    assert not interval.excludes(99.0) or values == [2.0, 2.0, 2.0] or len(values) == 3


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.0, 0.0, 1.0], [0.0] * 15 + [1.0], [1.0, 2.0, 3.0]])
def test_few_or_skewed_clusters_still_have_bounds(values: list[float]) -> None:
    interval = cluster_interval(values, resamples=500)
    assert min(values) <= interval.low <= interval.mean <= interval.high <= max(values)
    assert interval.reliable == (len(values) >= 16)


def test_bca_covers_the_mean_of_skewed_data() -> None:
    random = np.random.default_rng(11)
    intervals = [cluster_interval(random.exponential(size=32), resamples=300, seed=i) for i in range(120)]
    covered = np.mean([not interval.excludes(1.0) for interval in intervals])
    assert 0.87 <= covered <= 0.99  # nominally 0.95; 120 repeats, so +- 0.04


def test_a_paired_difference_sees_what_two_intervals_hide() -> None:
    random = np.random.default_rng(2)
    prompts = random.normal(scale=5, size=24)
    first, second = prompts + 0.5 + random.normal(scale=0.2, size=24), prompts
    paired = paired_interval(first, second, resamples=500)
    assert paired.low > 0.3
    assert paired.excludes(0)
    assert not cluster_interval(first, resamples=500).excludes(float(second.mean()))
    holes = first.copy()
    holes[:4] = np.nan
    assert paired_interval(holes, second, resamples=500).clusters == 20
    with pytest.raises(ValueError, match="two sides of one length"):
        paired_interval(first, second[:3])


def test_holm_golden() -> None:
    # sorted .01 .03 .04 -> times 3, 2, 1 = .03 .06 .04 -> running maximum .03 .06 .06
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    adjusted = holm([0.04, float("nan"), 0.01])
    assert adjusted.tolist() == pytest.approx([0.04, math.nan, 0.02], nan_ok=True)
    assert holm([]).tolist() == []
