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
from statsmodels.stats.weightstats import DescrStatsW

from fp_metrics import DriftResult, cluster_interval, holm, paired_interval, summarise_drift
from fp_metrics.significance import (
    detectable,
    effect_size,
    equivalence,
    paired_permutation,
    smallest_detectable,
)
from fp_metrics.statistics import (
    CLAIM_CLUSTERS,
    LEAST_CLUSTERS,
    cluster_means,
    expanded,
    nested_interval,
    stretch,
)

NAN = float("nan")
Draw = Callable[[np.random.Generator], NDArray[np.float64]]
"""Values of 32 prompts, one row each."""


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
    # Student's interval of 20 means is as wide as a normal one of this level over their plug-in spread
    level = 2 * stats.norm.cdf(stats.t.ppf(0.975, 19) * math.sqrt(20 / 19)) - 1
    assert expanded(0.95, 20) == pytest.approx(level)
    reference = stats.bootstrap(
        (means,), np.mean, confidence_level=level, n_resamples=999, method="BCa", rng=np.random.default_rng(7)
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


@pytest.mark.parametrize(
    ("between_seeds", "least", "most"), [(0.0, 0.95, 1.0), (0.3, 0.95, 1.0), (2.0, 0.93, 0.98)]
)
def test_nested_intervals_hold_the_truth_with_three_training_seeds(
    between_seeds: float, least: float, most: float
) -> None:
    """The prompts are the same for all training seeds, as they are in a grid."""
    random, held, naive, repeats = np.random.default_rng(1), 0, 0, 400
    top, prompts = np.repeat(np.arange(3), 32).tolist(), np.tile(np.arange(32), 3).tolist()
    for repeat in range(repeats):
        shared, own = random.normal(size=(1, 32)), random.normal(size=(3, 32))
        values = (between_seeds * random.normal(size=(3, 1)) + shared + own).ravel()
        held += not nested_interval(values, top, prompts, resamples=500, seed=repeat).excludes(0)
        pairs = [f"{seed} {prompt}" for seed, prompt in zip(top, prompts, strict=True)]
        naive += not cluster_interval(values, pairs, resamples=200, seed=repeat).excludes(0)
    assert least <= held / repeats <= most
    assert naive / repeats < 0.9, "prompts of several training seeds are not further prompts"


def test_stretch_makes_two_training_seeds_as_wide_as_students_interval() -> None:
    assert stretch(0.95, 10**7) == pytest.approx(1, abs=1e-6)
    # three values: plug-in spread sqrt(2/3) s, and t = 4.303 instead of 1.96
    assert stretch(0.95, 3) == pytest.approx(math.sqrt(1.5) * 4.302653 / 1.959964, rel=1e-6)
    assert expanded(0.95, 2) < 1


def test_nested_intervals_resample_both_levels() -> None:
    random = np.random.default_rng(3)
    top, prompts = ["x"] * 20 + ["y"] * 20 + ["z"] * 20, list(range(20)) * 3
    values = random.normal(size=60)
    far = values + np.repeat([-2.0, 0.0, 2.0], 20)
    near, wide = (nested_interval(v, top, prompts, resamples=500) for v in (values, far))
    assert near.mean == pytest.approx(values.mean())
    assert wide.mean == pytest.approx(values.mean())
    assert wide.high - wide.low > 4 * (near.high - near.low)
    assert near.clusters == 20
    assert near.reliable
    assert near == nested_interval(values, top, prompts, resamples=500)
    # a prompt that shifts all training seeds counts as one prompt, not as three
    shifted = values + np.tile(10.0 * random.normal(size=20), 3)
    assert np.ptp([*_bounds(nested_interval(shifted, top, prompts))]) > 1.8 * 10 / math.sqrt(20) * 1.96


def _bounds(interval: object) -> tuple[float, float]:
    return interval.low, interval.high  # type: ignore[attr-defined]


def test_nested_intervals_take_seeds_holes_and_prompts_of_their_own() -> None:
    # mean over training seeds of the mean over prompts of the mean over seeds: ((1 + 3) / 2 + 10) / 2
    holes = nested_interval([0, 2, 3, NAN, 10], ["x", "x", "x", "y", "y"], ["a", "a", "b", "a", "b"])
    assert holes.mean == pytest.approx((2 + 10) / 2)
    assert holes.clusters == 2
    assert not holes.reliable
    random = np.random.default_rng(4)
    own = nested_interval(random.normal(size=96), np.repeat([1, 2, 3], 32).tolist(), list(range(96)))
    assert own.low < own.mean < own.high
    assert own.clusters == 96


@pytest.mark.parametrize(
    ("values", "top", "clusters", "mean"),
    [
        ([], [], [], NAN),
        ([1, 3], [0, 0], ["a", "b"], 2),
        ([1, 3], [0, 1], ["a", "a"], 2),
        ([NAN], [0], [0], NAN),
    ],
)
def test_one_training_seed_or_one_prompt_has_no_nested_interval(
    values: list[float], top: list[int], clusters: list[str], mean: float
) -> None:
    interval = nested_interval(values, top, clusters)
    assert [interval.mean, interval.low, interval.high] == pytest.approx([mean, NAN, NAN], nan_ok=True)
    assert not interval.reliable
    assert not interval.excludes(99)


def test_nested_intervals_want_a_label_of_both_kinds_per_value() -> None:
    with pytest.raises(ValueError, match="got 1 training seeds and 2 clusters for 2 values"):
        nested_interval([1, 2], [0], [0, 1])


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


def test_the_smallest_detectable_difference_of_data_depends_on_their_spread_alone() -> None:
    values, prompts = [1, 3, 2, 2, 6, 7, NAN], ["a", "a", "b", "b", "c", "d", "d"]
    expected = detectable(float(np.std([2, 2, 6, 7], ddof=1)), 4)
    assert smallest_detectable(values, prompts) == pytest.approx(expected)
    assert smallest_detectable([v + 99 for v in values], prompts) == pytest.approx(expected)
    assert smallest_detectable([1, 1, 1]) == 0
    assert math.isnan(smallest_detectable([1]))
    with pytest.raises(ValueError, match=r"got power=0\.2"):
        detectable(1, 8, power=0.2)


@settings(max_examples=30)
@given(st.integers(2, 64), st.integers(1, 5000))
def test_more_prompts_see_more_and_more_comparisons_less(clusters: int, comparisons: int) -> None:
    """Where statsmodels' own solver misses the root, too."""
    found = detectable(1, clusters, comparisons=comparisons)
    assert 0 < detectable(1, clusters + 1, comparisons=comparisons) < found
    assert found < detectable(1, clusters, comparisons=comparisons + 1)


def test_equivalence_is_two_one_sided_t_tests() -> None:
    differences = np.random.default_rng(1).normal(0.05, 0.2, size=24)
    found = equivalence(differences, 0.2)
    above = stats.ttest_1samp(differences, -0.2, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.2, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below))
    assert found.p == pytest.approx(DescrStatsW(differences).ttost_mean(-0.2, 0.2)[0])
    assert found.mean == pytest.approx(differences.mean())
    assert (found.margin, found.clusters, found.reason) == (0.2, 24, None)
    repeated = equivalence(np.repeat(differences, 5), 0.2, np.repeat(np.arange(24), 5).tolist())
    assert repeated.p == pytest.approx(found.p), "seeds are no further prompts"


@given(st.floats(-0.5, 0.5), st.floats(0.05, 1))
def test_equivalence_says_whether_the_interval_lies_within_the_margin(shift: float, margin: float) -> None:
    differences = np.random.default_rng(2).normal(size=20) * 0.3 + shift
    low, high = stats.t.interval(0.9, 19, differences.mean(), stats.sem(differences))
    assert equivalence(differences, margin).equivalent == (-margin < low and high < margin)


def test_no_difference_found_is_not_equivalence() -> None:
    few = [0.4, -0.5, 0.3, -0.2]
    assert paired_permutation(few) == 1
    assert not equivalence(few, 0.1).equivalent
    with pytest.raises(ValueError, match="got margin=0"):
        equivalence(few, 0)


@pytest.mark.parametrize(
    ("differences", "p", "reason"),
    [
        ([], NAN, "needs at least 2 clusters, got 0"),
        ([0.0], NAN, "needs at least 2 clusters, got 1"),
        ([0.05, 0.05], 0, None),
        ([0.2, 0.2], 1, None),
    ],
)
def test_equivalence_of_degenerate_data(differences: list[float], p: float, reason: str | None) -> None:
    found = equivalence(differences, 0.1)
    assert found.p == pytest.approx(p, nan_ok=True)
    assert found.reason == reason
    assert found.equivalent == (p == 0)


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
