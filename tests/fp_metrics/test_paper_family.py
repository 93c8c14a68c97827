"""The two families of the paper, and the scores that only VBench itself measures."""

import math

import pytest
import torch

from fp_metrics import SCORES, About
from fp_metrics.families.paper import PAPER, PAPER_VBENCH_COMPAT
from fp_metrics.families.paper.elsewhere import ELSEWHERE
from fp_metrics.weights_catalogue import ARTIFACTS

COMPAT = "paper_vbench_compat"


@pytest.mark.parametrize(("family", "kinds"), [("paper", PAPER), (COMPAT, PAPER_VBENCH_COMPAT)])
def test_every_score_is_named_after_its_family(family: str, kinds: dict[str, type]) -> None:
    assert {kind.score for kind in kinds.values()} == set(SCORES)
    for name, kind in kinds.items():
        assert (kind.family, kind.name) == (family, name)
        assert name.startswith(f"{family}/")
        assert set(kind.observer.weights) <= set(ARTIFACTS)
        assert kind(About()).higher_is_better is (None if kind.score == "dynamic" else True)


def test_only_published_scores_are_repeated_with_their_defects() -> None:
    stems = {name.partition("/")[2] for name in PAPER}
    assert {name.partition("/")[2] for name in PAPER_VBENCH_COMPAT} == stems - {"raft-top5-flow"}
    assert all(PAPER_VBENCH_COMPAT[f"{COMPAT}/{kind.name[6:]}"].unavailable() for kind in ELSEWHERE)


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_is_measured_elsewhere_is_never_a_number_and_says_where_to_get_it(kind: type) -> None:
    estimator = kind(About(prompt="a cat"))
    estimator.update(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    series = estimator.compute()
    assert math.isnan(series.score)
    assert series.reason == kind.unavailable()
    assert "--vbench-json FILE" in series.reason
    assert repr(kind.key) in series.reason
