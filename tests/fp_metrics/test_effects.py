"""Means and differences over training seeds and prompts, against statsmodels, scipy, and simulations."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.weightstats import DescrStatsW

from fp_metrics import cluster_interval, effects_of, paired_permutation
from fp_metrics.effects import by_seed_and_prompt
from fp_metrics.significance import detectable

NAN = float("nan")
Array = NDArray[np.float64]


def drawn(
    random: np.random.Generator, repeats: int, prompts: int, seeds: float, own: float = 0.0, mean: float = 0.0
) -> Array:
    """An arm with 3 trainings: their spread `seeds`, that of prompts `own`, that of single videos 1."""
    values = seeds * random.normal(size=(repeats, 3, 1)) + own * random.normal(size=(repeats, 1, prompts))
    return np.asarray(mean + values + random.normal(size=(repeats, 3, prompts)))


def test_the_error_of_a_mean_is_that_of_the_analysis_of_variance() -> None:
    """Mean squares by statsmodels; Cornfield & Tukey (1956): (seeds + prompts - rest) / number of videos."""
    random = np.random.default_rng(0)
    values = drawn(random, 1, 10, 2.0, own=1.5)
    table = pd.DataFrame(
        [{"y": values[0, s, p], "seed": f"s{s}", "prompt": f"p{p}"} for s in range(3) for p in range(10)]
    )
    squares = anova_lm(ols("y ~ seed + prompt", table).fit())
    between = squares["sum_sq"] / squares["df"]
    expected = between["seed"] + between["prompt"] - between["Residual"]
    found = effects_of(values)
    assert found.over_seeds
    assert found.mean[0] == pytest.approx(values.mean())
    assert found.error[0] ** 2 == pytest.approx(expected / 30)
    satterthwaite = expected**2 / (between["seed"] ** 2 / 2 + between["prompt"] ** 2 / 9)
    assert found.free[0] == pytest.approx(satterthwaite)
    (interval,) = found.intervals()
    expected_bounds = stats.t.interval(0.95, satterthwaite, values.mean(), math.sqrt(expected / 30))
    assert [interval.low, interval.high] == pytest.approx(expected_bounds)


def test_trainings_that_differ_in_all_videos_alike_are_compared_by_welchs_test() -> None:
    first, second = np.array([1.0, 4.0, 2.5]), np.array([0.1, 0.2, 0.6, 0.3])
    prompts = np.random.default_rng(1).normal(size=16)
    found = effects_of(first[None, :, None] + prompts, second[None, :, None] + prompts)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.free[0] == pytest.approx(expected.df)
    low, high = expected.confidence_interval(0.95)
    (interval,) = found.intervals()
    assert [interval.low, interval.high] == pytest.approx([low, high])


def test_equal_recipes_are_seldom_told_apart_and_videos_alone_would_often_tell_them() -> None:
    """3 trainings, 16 prompts, as much spread between trainings as between videos."""
    random, repeats = np.random.default_rng(0), 2000
    first, second = (drawn(random, repeats, 16, 1.0) for _ in range(2))
    found = effects_of(first, second)
    assert 0.02 <= (found.p < 0.05).mean() <= 0.06
    held = np.mean([not interval.excludes(0) for interval in found.intervals()])
    assert 0.94 <= held <= 0.98
    videos = [not cluster_interval(row).excludes(0) for row in found.by_prompt[:200]]
    assert np.mean(videos) < 0.5


@pytest.mark.parametrize(
    ("seeds", "own", "least", "most"), [(0.0, 0.0, 0.95, 1.0), (0.3, 1.0, 0.93, 0.98), (2.0, 1.0, 0.93, 0.97)]
)
def test_intervals_hold_the_mean_of_a_recipe(seeds: float, own: float, least: float, most: float) -> None:
    found = effects_of(drawn(np.random.default_rng(1), 1500, 32, seeds, own))
    assert least <= np.mean([not interval.excludes(0) for interval in found.intervals()]) <= most


def test_below_three_training_seeds_prompts_alone_are_draws() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=(1, 3, 16)), random.normal(size=(1, 2, 16))
    found = effects_of(first, second)
    differences = first[0].mean(0) - second[0].mean(0)
    assert not found.over_seeds
    assert found.p[0] == paired_permutation(differences)
    (interval,), expected = found.intervals(), cluster_interval(differences)
    assert (interval.mean, interval.clusters) == (pytest.approx(differences.mean()), 16)
    assert [interval.low, interval.high] == pytest.approx([expected.low, expected.high], abs=1e-6)
    assert found.detectable(comparisons=7)[0] == pytest.approx(
        detectable(float(differences.std(ddof=1)), 16, comparisons=7)
    )


def test_effects_made_together_have_one_basis() -> None:
    """A pair of arms with three trainings is tested over prompts beside one that lacks a training."""
    random = np.random.default_rng(7)
    first, second = random.normal(size=(2, 3, 16)), random.normal(size=(2, 3, 16))
    second[1, 2] = NAN
    found, alone = effects_of(first, second), effects_of(first[:1], second[:1], over_seeds=False)
    expected = paired_permutation(first[0].mean(0) - second[0].mean(0))
    assert found.p[0] == alone.p[0] == pytest.approx(expected)
    recipes = effects_of(first, second, over_seeds=True)
    assert recipes.p[0] == pytest.approx(effects_of(first[:1], second[:1]).p[0])
    assert recipes.reliable.tolist() == [True, False]
    assert np.isnan([recipes.p[1], recipes.intervals()[1].low]).all()
    assert recipes.mean[1] == pytest.approx(found.mean[1])


def test_only_prompts_that_both_have_count_and_arms_do_not_change_each_other() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(size=(3, 3, 16)), random.normal(size=(3, 4, 16))
    first[1, :, :6], second[2] = NAN, NAN
    found = effects_of(first, second)
    assert found.clusters.tolist() == [16, 10, 0]
    assert np.isnan([found.mean[2], found.p[2], found.error[2]]).all()
    alone = effects_of(first[1:2, :, 6:], second[1:2, :, 6:])
    assert [found.mean[1], found.error[1], found.p[1]] == pytest.approx(
        [alone.mean[0], alone.error[0], alone.p[0]]
    )


def test_missing_values_make_errors_larger_rather_than_smaller() -> None:
    random = np.random.default_rng(4)
    values = drawn(random, 1000, 16, 0.5, own=2.0)
    values[random.random(values.shape) < 0.3] = NAN
    held = [not interval.excludes(0) for interval in effects_of(values).intervals()]
    assert np.mean(held) >= 0.95


def test_what_varies_in_nothing_is_certain() -> None:
    same = np.full((2, 3, 8), 0.1 + 0.2)
    found = effects_of(same, np.array([0.3, 0.0])[:, None, None] * np.ones((2, 3, 8)))
    assert found.error.tolist() == [0, 0]
    assert found.p.tolist() == [1, 0]
    assert found.detectable() == [0, 0]


@given(st.floats(-0.5, 0.5), st.floats(0.05, 1))
def test_negligible_is_two_one_sided_tests(shift: float, margin: float) -> None:
    differences = np.random.default_rng(5).normal(size=20) * 0.3 + shift
    found = effects_of(differences[None, None])
    assert found.negligible(margin)[0] == pytest.approx(
        DescrStatsW(differences).ttost_mean(-margin, margin)[0], abs=1e-12
    )
    low, high = stats.t.interval(0.9, 19, differences.mean(), stats.sem(differences))
    assert (found.negligible(margin)[0] < 0.05) == (-margin < low and high < margin)


def test_a_margin_is_above_zero_and_one_prompt_shows_nothing() -> None:
    with pytest.raises(ValueError, match="got margin=0"):
        effects_of([[[0.4, -0.5]]]).negligible(0)
    assert np.isnan(effects_of([[[0.0]]]).negligible(0.1)).all()
    assert np.isnan(effects_of([[[0.0]]]).detectable()).all()


def test_videos_of_one_training_and_prompt_are_one_mean() -> None:
    cells = by_seed_and_prompt([1, 3, 5, NAN, 7], list("aabab"), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(cells, [[2, 5], [NAN, 7]])
    np.testing.assert_array_equal(by_seed_and_prompt([1, NAN]), [[1, NAN]])
    with pytest.raises(ValueError, match=r"got 3 labels .*2 values"):
        by_seed_and_prompt([1, 2], list("abc"))
