"""Intervals and tests against scipy, statsmodels and arithmetic by hand; degenerate data; coverage."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

from fp_metrics import DriftResult, cluster_interval, holm, summarise_drift
from fp_metrics.intervals import (
    CLAIM_CLUSTERS,
    LEAST_CLUSTERS,
    cluster_means,
    expanded,
    stretch,
)
from fp_metrics.significance import detectable, effect_size, paired_permutation

NAN = float("nan")
Draw = Callable[[np.random.Generator], NDArray[np.float64]]
"""Values of 32 prompts, one row each."""


def test_cluster_means_leave_out_nan_and_keep_the_order() -> None:
    means = cluster_means([1, 3, float("nan"), 10, 20, float("nan")], ["b", "b", "b", "a", "a", "c"])
    assert means.tolist() == [2, 15]
    with pytest.raises(ValueError, match=r"got 1 cluster .*2 values"):
        cluster_means([1, 2], ["a"])


def test_the_interval_is_scipys_bca_over_cluster_means() -> None:
    random = np.random.default_rng(5)
    values, clusters = random.exponential(size=60), np.repeat(np.arange(20), 3).tolist()
    ours = cluster_interval(values, clusters, resamples=999, seed=7)
    means = values.reshape(20, 3).mean(1)
    # Student's interval of 20 means is as wide as a normal one of this level over their plug-in spread
    level = 2 * stats.norm.cdf(stats.t.ppf(0.975, 19) * math.sqrt(20 / 19)) - 1
    assert expanded(0.95, 20) == pytest.approx(level)
    reference = stats.bootstrap(
        (means,),
        np.mean,
        confidence_level=level,
        n_resamples=999,
        method="BCa",
        random_state=np.random.default_rng(7),
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


def normal(random: np.random.Generator) -> NDArray[np.float64]:
    return random.normal(size=(32, 1))


def skewed(random: np.random.Generator) -> NDArray[np.float64]:
    return random.exponential(size=(32, 1)) - 1


def nested(random: np.random.Generator) -> NDArray[np.float64]:
    """Four seeds of each prompt."""
    return random.normal(size=(32, 1)) + random.normal(size=(32, 4))


def nested_skewed(random: np.random.Generator) -> NDArray[np.float64]:
    return random.exponential(size=(32, 1)) - 1 + random.normal(size=(32, 4))


@pytest.mark.parametrize("draw", [normal, skewed, nested, nested_skewed])
def test_intervals_of_95_percent_hold_the_truth_in_92_to_97_percent(draw: Draw) -> None:
    random, held, repeats = np.random.default_rng(0), 0, 800
    for repeat in range(repeats):
        values = draw(random)
        prompts = np.repeat(np.arange(len(values)), values.shape[1]).tolist()
        held += not cluster_interval(values.ravel(), prompts, resamples=1000, seed=repeat).excludes(0)
    assert 0.92 <= held / repeats <= 0.97


def test_stretch_makes_two_training_seeds_as_wide_as_students_interval() -> None:
    assert stretch(0.95, 10**7) == pytest.approx(1, abs=1e-6)
    # three values: plug-in spread sqrt(2/3) s, and t = 4.303 instead of 1.96
    assert stretch(0.95, 3) == pytest.approx(math.sqrt(1.5) * 4.302653 / 1.959964, rel=1e-6)
    assert expanded(0.95, 2) < 1


def test_holm_golden() -> None:
    # sorted .01 .03 .04 -> times 3, 2, 1 = .03 .06 .04 -> running maximum .03 .06 .06
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    adjusted = holm([0.04, NAN, 0.01])
    assert adjusted.tolist() == pytest.approx([0.04, NAN, 0.02], nan_ok=True)
    assert holm([]).tolist() == []
    assert np.isnan(holm([NAN, NAN])).all()


@settings(max_examples=20)  # statsmodels collects garbage in every call, which takes long among many modules
@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=12))
def test_holm_lies_between_no_correction_and_bonferronis_and_keeps_the_order(p: list[float]) -> None:
    adjusted, tested = holm(p), np.isfinite(p)
    assert (np.isfinite(adjusted) == tested).all()
    raw = np.array(p)[tested]
    assert (adjusted[tested] >= raw).all()
    assert (adjusted[tested] <= np.minimum(1, raw * len(raw)) + 1e-12).all()
    assert (np.diff(adjusted[tested][np.argsort(raw)]) >= 0).all()


@pytest.mark.parametrize("count", [2, 5, 11])
def test_sign_flips_are_scipys_permutation_test(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.4, 1, size=count).round(1)
    reference = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert paired_permutation(differences) == pytest.approx(min(1, reference.pvalue))


def test_sign_flips_of_a_few_pairs_are_counted_exactly() -> None:
    assert paired_permutation([1.0, 1.0, 1.0]) == 2 / 8
    assert paired_permutation([1.0, -1.0]) == 1
    assert paired_permutation(np.full(16, 0.3)) == pytest.approx(2 / 2**16), (
        "all of them: Holm can still reject one of 1,000"
    )
    assert paired_permutation(np.full(20, 0.3)) == pytest.approx(2**-17)
    assert np.isnan(paired_permutation([]))


def test_random_sign_flips_agree_with_the_t_test() -> None:
    differences = np.random.default_rng(9).normal(0.25, 1, size=40)
    p = paired_permutation(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.005)
    assert paired_permutation(differences, seed=1) != p
    assert paired_permutation(differences, seed=1) == pytest.approx(p, abs=0.005)


def test_sign_flips_average_the_seeds_of_a_prompt() -> None:
    seeds, prompts = [1.0, 3.0, NAN, 1.0, 2.0, 5.0], ["a", "a", "a", "b", "b", "c"]
    assert paired_permutation(seeds, prompts) == paired_permutation([2.0, 1.5, 5.0]) == 2 / 8


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_sign_flips_do_not_depend_on_direction_order_or_unit(differences: list[float]) -> None:
    p = paired_permutation(differences)
    assert 2 ** -len(differences) <= p <= 1
    assert paired_permutation([-d for d in differences]) == p
    assert paired_permutation(differences[::-1]) == p
    assert paired_permutation([4 * d for d in differences]) == p


def test_eight_prompts_cannot_reach_a_claim_after_holm_over_seven_scores() -> None:
    for prompts, possible in ((8, False), (LEAST_CLUSTERS, True), (CLAIM_CLUSTERS, True)):
        best = paired_permutation(np.ones(prompts))
        assert (holm([best] * 7).max() < 0.05) == possible


def test_effect_sizes_golden() -> None:
    size = effect_size([1, 2, 3, 4, -5])
    # mean 1, squared deviations 0 1 4 9 36 = 50, over 4
    assert size.dz == pytest.approx(1 / math.sqrt(12.5))
    # J(4) = Gamma(2) / (sqrt(2) Gamma(1.5)) = 1 / (sqrt(2) sqrt(pi) / 2)
    assert size.hedges == pytest.approx(size.dz / (math.sqrt(2) * math.sqrt(math.pi) / 2))
    assert size.dominance == pytest.approx(4 / 5 - 1 / 5)
    assert (size.clusters, size.reason) == (5, None)
    assert effect_size([1, 3, 2, 2, 6], ["a", "a", "b", "b", "c"]) == effect_size([2, 2, 6])
    large = effect_size(np.random.default_rng(0).normal(size=101))
    assert large.hedges / large.dz == pytest.approx(1 - 3 / (4 * 100 - 1), rel=1e-4)  # Hedges' approximation
    assert effect_size([1, 2]).hedges == 0


def test_hedges_correction_takes_the_bias_away() -> None:
    random = np.random.default_rng(0)
    sizes = [effect_size(random.normal(0.8, 1, size=6)) for _ in range(4000)]
    assert np.mean([size.dz for size in sizes]) > 0.9
    assert np.mean([size.hedges for size in sizes]) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("differences", "dominance", "reason"),
    [
        ([], NAN, "no pair has both sides"),
        ([2.0], 1.0, "needs at least 2 clusters, got 1"),
        ([0.1 + 0.2, 0.3], 1.0, "all differences are equal"),
        ([0.0, 0.0], 0.0, "all differences are equal"),
    ],
)
def test_an_effect_without_a_spread_says_why(differences: list[float], dominance: float, reason: str) -> None:
    size = effect_size(differences)
    assert (math.isnan(size.dz), math.isnan(size.hedges), size.reason) == (True, True, reason)
    assert size.dominance == pytest.approx(dominance, nan_ok=True)


@pytest.mark.parametrize(("clusters", "comparisons"), [(4, 1), (16, 1), (16, 7), (32, 1), (32, 7), (200, 7)])
def test_the_smallest_detectable_difference_is_statsmodels(clusters: int, comparisons: int) -> None:
    found = detectable(1, clusters, comparisons=comparisons)
    power = TTestPower().power(found, clusters, 0.05 / comparisons)
    assert power == pytest.approx(0.8, abs=1e-5)
    assert detectable(3, clusters, comparisons=comparisons) == pytest.approx(3 * found)


def test_the_smallest_detectable_difference_is_found_that_often() -> None:
    random, spread, clusters = np.random.default_rng(0), 2.0, 32
    true = detectable(spread, clusters, comparisons=7)
    draws = random.normal(true, spread, size=(4000, clusters))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05 / 7).mean() == pytest.approx(0.8, abs=0.02)


@settings(max_examples=30)
@given(st.integers(2, 64), st.integers(1, 5000))
def test_more_prompts_see_more_and_more_comparisons_less(clusters: int, comparisons: int) -> None:
    """Where statsmodels' own solver misses the root, too."""
    found = detectable(1, clusters, comparisons=comparisons)
    assert 0 < detectable(1, clusters + 1, comparisons=comparisons) < found
    assert found < detectable(1, clusters, comparisons=comparisons + 1)


def test_the_noise_floor_carries_the_same_figures_as_the_drift() -> None:
    """Segments with noise 1.5 and no drift read mean |d| = 1.69; only the floor beside it shows that."""
    random = np.random.default_rng(0)

    def videos(drift: float) -> list[DriftResult]:
        return [DriftResult(s, e + drift, 9) for s, e in random.normal(scale=1.5, size=(2000, 2))]

    still = summarise_drift(videos(0), floor=videos(0))
    assert still.mean_absolute == pytest.approx(1.69, abs=0.07)
    assert not still.signed.excludes(0)
    floor = still.floor
    assert floor is not None
    assert floor.mean_absolute == still.floor_mean_absolute == pytest.approx(1.69, abs=0.07)
    assert floor.absolute_mean == pytest.approx(0, abs=0.1)
    assert floor.signed.low < 0 < floor.signed.high
    assert (floor.videos, floor.undefined, floor.floor) == (2000, 0, None)
    drifting = summarise_drift(videos(1), floor=videos(0))
    assert drifting.mean_absolute == pytest.approx(1.9, abs=0.08), "a drift of 1 adds only 0.2 to mean |d|"
    assert drifting.floor_mean_absolute == pytest.approx(1.69, abs=0.07), "of the true videos, not of these"
    assert drifting.absolute_mean == pytest.approx(1, abs=0.1)
    assert drifting.signed.excludes(0)
    assert summarise_drift(videos(0)).floor is None
    two = summarise_drift(videos(0)[:4], floor=videos(0)[:4], floor_clusters=["a", "a", "b", "b"])
    assert two.floor is not None
    assert (two.signed.clusters, two.floor.signed.clusters) == (4, 2)
