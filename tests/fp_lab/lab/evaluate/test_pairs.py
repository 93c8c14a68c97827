"""Videos of two sets against each other: who is paired with whom, and what is said of the differences."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fp_lab.lab.evaluate.against import compare_folders
from fp_lab.lab.evaluate.pairs import match_paths, pair_videos
from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.tables import Table
from fp_metrics import holm, paired_permutation
from fp_metrics.significance import detectable
from made_up_scores import Figures, made_up_grid

CLARITY, DYNAMIC = "plain/denoised-sharpness", "plain/dis-top5-flow"


def files(**prompts: str) -> dict[str, Any]:
    return {name: {"prompt": prompt} for name, prompt in prompts.items()}


def test_equal_names_of_other_prompts_are_no_pair() -> None:
    """Both sets number their files; the second has them the other way round."""
    found = pair_videos(files(v0="a dog", v1="a cat"), files(v0="a cat", v1="a dog"))
    assert set(found.names) == {("v0", "v1"), ("v1", "v0")}
    assert (found.by_name, found.alone) == (0, ((), ()))


def test_several_videos_of_one_prompt_are_paired_one_to_one() -> None:
    ours, theirs = files(a="dog", b="dog", c="cat", d="x"), files(e="dog", f="dog", g="cat", h="cat", i="y")
    found = pair_videos(ours, theirs)
    assert set(found.names) == {("a", "e"), ("b", "f")}, "1 cat against 2 is no pair"
    assert found.prompts == ("dog", "dog")
    assert found.alone == (("c", "d"), ("g", "h", "i"))
    assert "2 pairs of 1 prompts, 0 by name, 2 by prompt" in found.in_words
    for name in ("c", "d", "g", "h", "i"):
        assert name in found.in_words


def test_names_pair_where_a_prompt_is_known_on_one_side_or_none() -> None:
    found = pair_videos(files(a="dog", b="", c=""), files(a="", b="", d=""))
    assert found.names == (("a", "a"), ("b", "b"))
    assert found.prompts == ("dog", "b")
    assert found.by_name == 2


def test_paths_match_by_their_longest_common_end() -> None:
    ours = [("model_a", "dog.mp4"), ("model_b", "dog.mp4"), ("model_b", "cat.mp4")]
    assert match_paths([("data", "model_a", "dog.mp4")], ours) == {0: 0}
    assert match_paths([("elsewhere", "cat.mp4")], ours) == {0: 2}
    assert match_paths([("elsewhere", "dog.mp4")], ours) == {}, "of two nobody knows which"
    assert match_paths([("x", "cat.mp4"), ("y", "cat.mp4")], ours) == {}


def results(values: Mapping[str, Sequence[float]], prompts: Sequence[str] | None = None) -> Results:
    """Of made-up values and drifts; the fingerprint is the same for all."""
    count = len(next(iter(values.values())))
    protocol = {
        name: {"score": name.partition("/")[2], "higher_is_better": None if name == DYNAMIC else True}
        for name in values
    }
    rows = [
        {"file": f"{index}.mp4", "group": "all", "prompt": prompts[index] if prompts else "", "seed": index}
        | {"estimator": name, "value": own[index], "drift": own[index] / 2}
        for index in range(count)
        for name, own in values.items()
    ]
    flags = {"own": {"frozen_share": 0.0, "videos": count}}
    return Results({"protocol": {"estimators": protocol}, "flags": flags}, pd.DataFrame(rows))


def column(table: Table, estimator: str, key: str) -> Any:
    line = next(line for line in table.lines if line.name == estimator)
    return line.cells[[column.key for column in table.columns].index(key)]


def test_differences_are_tested_together_and_say_what_could_have_been_seen() -> None:
    """p-values by Holm over the 3 tests: the score and both drifts; more of `dynamic` is neither better."""
    random = np.random.default_rng(0)
    base = random.normal(size=20)
    ours = {CLARITY: base + 0.5 + 0.1 * random.normal(size=20), DYNAMIC: random.normal(size=20)}
    theirs = {CLARITY: base, DYNAMIC: random.normal(size=20)}
    table = compare_folders(results(ours), results(theirs))
    tests = [
        np.array(ours[CLARITY]) - theirs[CLARITY],
        *(np.abs(ours[name]) / 2 - np.abs(theirs[name]) / 2 for name in (CLARITY, DYNAMIC)),
    ]
    p = holm([paired_permutation(test) for test in tests])
    assert column(table, CLARITY, "value_p").value == pytest.approx(p[0])
    assert column(table, CLARITY, "size_p").value == pytest.approx(p[1])
    assert column(table, DYNAMIC, "size_p").value == pytest.approx(p[2])
    assert math.isnan(column(table, DYNAMIC, "value_p").value)
    assert column(table, CLARITY, "value").stars
    assert not column(table, DYNAMIC, "value").stars
    needed = detectable(float(tests[2].std(ddof=1)), 20, comparisons=3)
    assert column(table, DYNAMIC, "size_detectable").value == pytest.approx(needed)


def test_few_pairs_claim_nothing() -> None:
    """15 pairs that all differ by much; one prompt fewer than a table needs."""
    ours, theirs = {CLARITY: list(np.linspace(5, 6, 15))}, {CLARITY: list(np.linspace(0, 1.1, 15))}
    table = compare_folders(results(ours), results(theirs))
    cell = column(table, CLARITY, "value")
    assert cell.low > 0
    assert not cell.stars
    assert math.isnan(column(table, CLARITY, "value_p").value)
    assert "too few pairs: 15 of the 16" in column(table, CLARITY, "value_p").reason
    assert not any("real" in note for note in table.notes)


def test_sets_without_a_pair_are_refused_with_what_they_have() -> None:
    ours = results({CLARITY: [1.0]}, ["a dog"])
    with pytest.raises(ValueError, match=r"\bpaired .*\b0\.mp4.*\b0\.mp4"):
        compare_folders(ours, results({CLARITY: [1.0]}, ["a cat"]))


def test_scores_of_a_run_are_compared_as_those_of_a_folder(tmp_path: Path) -> None:
    """One layout: each video of one run less that of the other, by the name it has in samples/."""
    grid = made_up_grid(tmp_path, {"g5": Figures(0.9), "g9": Figures(0.6)}, families=("plain",))
    one, other = (grid / arm / "seed0" for arm in ("g5", "g9"))
    table = compare_folders(Results.load(one), Results.load(other / "scores"))
    tables = [pd.read_parquet(run / "scores" / "videos.parquet") for run in (one, other)]
    first, second = (t[(t["history"] == "own") & (t["estimator"] == CLARITY)]["value"].mean() for t in tables)
    assert table.title.endswith("16 pairs")
    assert column(table, CLARITY, "value").value == pytest.approx(first - second)
