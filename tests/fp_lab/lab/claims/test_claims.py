"""Claims: arithmetic against the method's figures; runs in which a claim is true, false or undecidable."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.testing import CliRunner

from fp_lab.cli import app
from fp_lab.lab.claims import CLAIMS, Evidence, check_claims, exact, register_claim, write_claims
from fp_lab.lab.claims.claim import Outcome
from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.compare.paper_values import paper
from fp_lab.lab.report.claims_page import write_claims_page
from made_up_scores import Figures, made_up_grid

VANILLA, DEEP = "td_f16k4f2k2f1k1_g9", "td_f8k8f4k4f2k2f1k1_g9"
INVERTED, ENDPOINT = "f1k1_x_g9_f1k1f2k2f16k4_td", "td_f16k4f2k2f1k1_g9_x_f1k1"
CONTROL = "g9"
WEAK, GOOD, DRIFTING = Figures(0.1), Figures(0.8), Figures(0.8, -0.4)
NOISY = Figures(0.8, noise=0.2)


def test_a_claim_of_an_unknown_kind_is_refused() -> None:
    odd = replace(CLAIMS[0], id="mine/odd")
    object.__setattr__(odd, "kind", "measured")  # the tests' own check of types would come first
    with pytest.raises(ValueError, match="claim 'mine/odd': kind: got 'measured', expected one of exact"):
        register_claim(odd)
    assert odd not in CLAIMS


def outcome(
    folder: Path,
    claim: str,
    arms: Mapping[str, Figures],
    *,
    videos: int = 32,
    seeds: tuple[int, ...] = (0,),
    renamed: Mapping[str, str] | None = None,
) -> Outcome:
    """Of a claim on made-up runs, with a control that can be told."""
    made_up_grid(folder, {CONTROL: WEAK} | dict(arms), videos=videos, seeds=seeds)
    for old, new in (renamed or {}).items():
        (folder / old).rename(folder / new)
    _, (checked,) = check_claims([folder], [claim])
    return checked.outcome


def test_every_row_of_the_feature_table_is_a_claim_and_every_claim_says_how() -> None:
    ids = [claim.id for claim in CLAIMS]
    assert [id for id in ids if id.startswith("M")] == [f"M{number}" for number in range(1, 21)]
    assert len(set(ids)) == len(ids)
    assert len(paper().findings) == 7
    assert sum(id.startswith("table1/") for id in ids) + sum(id in ("M3", "M5", "M16") for id in ids) >= 7
    for claim in CLAIMS:
        assert claim.text.endswith((".", ")"))
        assert claim.rule
        assert claim.command
        assert claim.kind != "declared" or len(claim.check(Evidence()).evidence) > 20


@pytest.mark.parametrize("claim", ["M1", "M2", "M4", "M7", "M9", "M12"])
def test_arithmetic_holds(claim: str) -> None:
    _, (checked,) = check_claims(only=[claim])
    assert checked.outcome.status == "reproduced", checked.outcome.evidence


def test_token_counts_are_those_of_the_method() -> None:
    """Counted by hand from the levels: a frame at (1,2,2) of 60 x 104 latents has 1,560 tokens."""
    by_hand = {
        "base": 1560 + 780 + 15 * 26 * 2,  # f1k1, f1k1h4w2, f1k1h4w4 at 15 x 26, f2k2 at 15 x 26
        "lite": 1560 + 5 * 8 * 13,
        "extended": 1560 + 2 * 780 + 2 * 15 * 26,
    }
    assert by_hand == {"base": 3120, "lite": 2080, "extended": 3900}
    found = {name.partition(",")[0]: got for name, got, _ in exact.variant_tokens() if "ideal" not in name}
    assert found == by_hand


def test_arithmetic_that_does_not_hold_is_named() -> None:
    found = exact.matches(lambda: [("g1", 2.06, 2.06), ("g2", 2.70, 2.68)])(Evidence())
    assert found == Outcome("not reproduced", "g2: 2.7 (claimed 2.68)")


@pytest.mark.parametrize(
    ("batches", "time", "status"),
    [((16, 64), 5.0, "reproduced"), ((16, 32), 6.0, "not reproduced"), ((16, 80), 3.0, "not reproduced")],
)
def test_batch_and_time_are_held_against_the_plan(
    batches: tuple[int, int], time: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, packed = batches
    fit = SimpleNamespace(full=full, packed=packed)
    made = SimpleNamespace(chosen=fit, batch_ratio=packed / full, time_ratio=time, memory_ratio=4.0)
    monkeypatch.setattr(exact, "planned", lambda *_: made)
    _, (checked,) = check_claims(only=["M8"])
    assert checked.outcome.status == status
    assert f"batch {full} -> {packed}" in checked.outcome.evidence


def test_memory_is_held_against_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    for gigabytes, status in ((39, "reproduced"), (28, "inconclusive"), (60, "not reproduced")):
        made = SimpleNamespace(
            chosen=SimpleNamespace(packed=8), packed=None, inference_bytes=lambda _, g=gigabytes: g * 1e9
        )
        monkeypatch.setattr(exact, "planned", lambda *_, made=made: made)
        assert check_claims(only=["M18"])[1][0].outcome.status == status


def test_the_lowest_drift_is_found_denied_or_left_open(tmp_path: Path) -> None:
    true = outcome(tmp_path / "1", "M3", {VANILLA: DRIFTING, DEEP: DRIFTING, INVERTED: GOOD})
    assert true.status == "toy"
    assert len(true.differences) == 7
    assert all(one.mean == pytest.approx(0.4 * 10 / 11, abs=0.05) for one in true.differences)
    false = outcome(tmp_path / "2", "M3", {VANILLA: GOOD, DEEP: GOOD, INVERTED: DRIFTING})
    assert false.status == "not reproduced"
    same = outcome(tmp_path / "3", "M3", {VANILLA: NOISY, INVERTED: NOISY})
    assert same.status == "inconclusive"
    assert "smallest detectable up to" in same.evidence
    assert all(one.detectable > 0 for one in same.differences)
    assert outcome(tmp_path / "4", "M3", {VANILLA: GOOD}).status == "not measured"


def test_all_must_hold(tmp_path: Path) -> None:
    """Lower than vanilla and the same as endpoint: not the lowest."""
    found = outcome(tmp_path, "M3", {VANILLA: DRIFTING, ENDPOINT: NOISY, INVERTED: NOISY})
    assert found.status == "inconclusive"


@pytest.mark.parametrize("lacking", ["prompts", "control", "power"])
def test_runs_that_cannot_decide_do_not(lacking: str, tmp_path: Path) -> None:
    arms = {VANILLA: DRIFTING, INVERTED: GOOD, CONTROL: GOOD if lacking == "power" else WEAK}
    if lacking == "control":
        del arms[CONTROL]
    made_up_grid(tmp_path, arms, videos=16 if lacking == "prompts" else 32)
    _, (checked,) = check_claims([tmp_path], ["M3"])
    assert checked.outcome.status == "inconclusive"
    reason = {
        "prompts": "a claim needs 32 prompts, these runs have 16",
        "control": "no positive control",
        "power": "do not tell their positive control",
    }[lacking]
    assert checked.outcome.evidence.startswith(reason) or reason in checked.outcome.evidence
    assert "would say reproduced" in checked.outcome.evidence


def test_training_seeds_are_what_a_claim_about_recipes_rests_on(tmp_path: Path) -> None:
    made_up_grid(tmp_path, {VANILLA: DRIFTING, INVERTED: GOOD, CONTROL: WEAK}, videos=32, seeds=(0, 1, 2))
    evidence, (checked,) = check_claims([tmp_path], ["M3"])
    assert evidence.scope == "about the recipes (3 training seeds per arm)"
    assert checked.outcome.status == "toy"
    one, _ = check_claims([tmp_path / arm / "seed0" for arm in (VANILLA, INVERTED, CONTROL)], ["M3"])
    assert one.scope.startswith("about these trained models (1 training seed per arm")


def test_all_trainings_of_a_group_of_arms_count(tmp_path: Path) -> None:
    """Of two vanilla arms one has two trainings, with other seeds: each arm's own are averaged first."""
    grid = made_up_grid(
        tmp_path, {VANILLA: NOISY, DEEP: DRIFTING, INVERTED: GOOD, CONTROL: WEAK}, videos=32, seeds=(0, 1, 2)
    )
    shutil.rmtree(grid / DEEP / "seed0")
    _, (checked,) = check_claims([grid], ["table1/inverted-dynamic"])
    (found,) = checked.outcome.differences
    rows = pd.concat(
        pd.read_parquet(run / "scores" / "videos.parquet").assign(arm=run.parent.name)
        for run in grid.glob("*/seed*")
    ).query("history == 'own' and score == 'dynamic' and family == 'world'")
    means = rows.groupby("arm")["value"].mean()
    assert found.mean == pytest.approx((means[VANILLA] + means[DEEP]) / 2 - means[INVERTED])


def test_what_large_models_reproduce_is_no_toy(tmp_path: Path) -> None:
    """A base of another origin, for all arms: one arm of the toy world is enough to say nothing of 13B."""
    grid = made_up_grid(tmp_path, {VANILLA: DRIFTING, INVERTED: GOOD, CONTROL: WEAK}, videos=32)
    for place, status in ((VANILLA, "toy"), (INVERTED, "toy"), (CONTROL, "reproduced")):
        config = grid / place / "seed0" / "config.yaml"
        config.write_text(re.sub(r"^( +base:).*$", r"\1 some/transformer", config.read_text(), flags=re.M))
        _, (checked,) = check_claims([grid], ["M3"])
        assert checked.outcome.status == status


def test_best_in_so_many_scores(tmp_path: Path) -> None:
    high, low = Figures(0.9), Figures(0.5)
    for place, (inverted, vanilla, status) in enumerate(
        [(high, low, "toy"), (low, high, "not reproduced"), (NOISY, NOISY, "inconclusive")]
    ):
        found = outcome(tmp_path / str(place), "table1/best-in-4", {VANILLA: vanilla, INVERTED: inverted})
        assert found.status == status, found.evidence


def test_negligible_differences_are_shown_not_assumed(tmp_path: Path) -> None:
    averaged, pooled = VANILLA.replace("td", "ta"), VANILLA.replace("td", "tc")
    same = outcome(tmp_path / "1", "M5", {VANILLA: GOOD, averaged: GOOD, pooled: GOOD})
    assert same.status == "toy", same.evidence
    assert len(same.differences) == 21
    apart = outcome(tmp_path / "2", "M5", {VANILLA: GOOD, pooled: Figures(0.6)})
    assert apart.status == "not reproduced"
    vague = outcome(tmp_path / "3", "M5", {VANILLA: Figures(noise=0.5), pooled: Figures(noise=0.5)})
    assert vague.status == "inconclusive"


def test_other_claims_of_table_1(tmp_path: Path) -> None:
    short, discrete = VANILLA.replace("g9", "g4"), f"{VANILLA}+D"
    high, low = Figures(0.9), Figures(0.5, -0.4)
    arms = {VANILLA: high, short: low, INVERTED: low, ENDPOINT: low, discrete: high}
    made_up_grid(tmp_path, arms | {CONTROL: WEAK}, videos=32)
    _, checked = check_claims([tmp_path], ["table1", "M13", "M16"])
    found = {one.claim.id: one.outcome.status for one in checked}
    for claim in ("M16", "table1/inverted-dynamic", "table1/vanilla-dynamic", "table1/discrete-dynamic"):
        assert found[claim] == "toy", claim
    assert found["M13"] in ("inconclusive", "not reproduced")  # as much drift with +D as without
    assert found["table1/discrete-votes"] == "not measured"


def test_orders_against_configurations(tmp_path: Path) -> None:
    between = {VANILLA: DRIFTING, DEEP: DRIFTING, INVERTED: GOOD}
    assert outcome(tmp_path / "1", "table1/order-matters", between).status == "toy"
    within = {VANILLA: GOOD, DEEP: DRIFTING, INVERTED: Figures(0.8, -0.2)}
    assert outcome(tmp_path / "2", "table1/order-matters", within).status == "not reproduced"


def test_baselines_are_known_by_their_labels(tmp_path: Path) -> None:
    spelled = {"td_f4k4f1k1_g9": "anchor_frames", "td_f2k2f1k1_g9": "repeating_i2v"}
    drifting = dict.fromkeys(spelled, DRIFTING)
    found = outcome(tmp_path / "1", "M15", {INVERTED: GOOD} | drifting, renamed=spelled)
    assert found.status == "toy"
    assert len(found.differences) == 14
    better = dict.fromkeys(spelled, GOOD)
    found = outcome(tmp_path / "2", "M15", {INVERTED: DRIFTING} | better, renamed=spelled)
    assert found.status == "not reproduced"


def test_noise_of_the_history_and_the_papers_order(tmp_path: Path) -> None:
    """Slopes in the paper's order of drift in clarity: 8.41, 4.84, 3.55."""
    spelled = {
        "td_f1k1_g9": "noisy_history_test0",
        "td_f2k1_g9": "noisy_history_test0.1",
        "td_f3k1_g9": "noisy_history_test0.5",
    }
    slopes = dict(zip(spelled, (-0.8, -0.5, -0.2), strict=True))
    arms = {name: Figures(0.8, slope) for name, slope in slopes.items()}
    made_up_grid(tmp_path, arms | {CONTROL: WEAK}, videos=32)
    for old, new in spelled.items():
        (tmp_path / old).rename(tmp_path / new)
    _, checked = check_claims([tmp_path], ["table2/noise", "table2/order"])
    assert [one.outcome.status for one in checked] == ["toy", "toy"]
    assert [one.mean for one in checked[0].outcome.differences] == [1.0]


def test_without_runs_nothing_empirical_is_decided() -> None:
    _, (checked,) = check_claims(only=["M3"])
    assert checked.outcome.status == "not measured"
    assert "fp-lab claims runs/table1" in checked.outcome.evidence


def test_outcomes_are_written_as_json_and_as_a_page_of_its_own(tmp_path: Path) -> None:
    made_up_grid(tmp_path / "runs", {VANILLA: DRIFTING, INVERTED: GOOD, CONTROL: WEAK}, videos=32)
    evidence, checked = check_claims([tmp_path / "runs"], ["M3", "M9", "M17"])
    write_claims(evidence, checked, tmp_path)
    told = json.loads((tmp_path / "claims.json").read_text())
    assert [(one["id"], one["status"]) for one in told["claims"]] == [
        ("M3", "toy"),
        ("M9", "reproduced"),
        ("M17", "not measured"),
    ]
    assert told["claims"][0]["differences"][0]["low"] > 0
    assert len(told["runs"]) == 2
    page = write_claims_page(evidence, checked, tmp_path).read_text()
    for part in ("M3", "M9", "M17", "1 reproduced, 1 toy, 1 not measured", "From runs", "Arithmetic"):
        assert part in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


def test_the_command_says_what_it_found_and_refuses_what_it_does_not_know() -> None:
    done = CliRunner().invoke(app, ["claims", "--only", "M9", "--only", "M17"])
    assert done.exit_code == 0
    assert [line for line in done.stderr.splitlines() if "M9, 1 of 2" in line or "M17, 2 of 2" in line]
    assert "Checking" not in done.stdout
    assert "2 claims: 1 reproduced" in done.output
    assert CliRunner().invoke(app, ["claims", "--only", "M99"]).exit_code == 2


def test_the_evidence_is_of_the_first_family_and_of_arms_with_history(tmp_path: Path) -> None:
    made_up_grid(tmp_path, {VANILLA: GOOD, CONTROL: WEAK}, videos=2, families=("world", "plain"))
    evidence = Evidence(compare_runs([tmp_path]))
    assert [arm.name for arm in evidence.arms] == [VANILLA]
    assert all(estimator.startswith("world/") for estimator in evidence.scores.values())
