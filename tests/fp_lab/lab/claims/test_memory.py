"""Claims about memory on made-up returns, and claims over several horizons."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fp_lab.lab.claims import check_claims
from fp_lab.lab.claims.claim import Evidence, Outcome
from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.grids.grid import folder_name
from made_up_scores import Figures, made_up_grid
from made_up_steps import made_up_steps

ONE, MANY, RELEASED = "td_f1k1_g9", "td_f19k1_g9", "td_f16k4f2k2f1k1_g9"
KEPT, INVERTED = "f1k1_x_f16k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td"
CONTROL = "g9"
GOOD, DRIFTING = Figures(0.8), Figures(0.8, -0.4)
SIMILAR = f"{RELEASED}--context.importance.kind=similarity"
SHUFFLED = folder_name(MANY, {"evaluation.shuffled": True})
Gaps = Mapping[int, float]
"""Gap in frames -> PSNR in dB of what comes back after it."""


def grid(
    folder: Path,
    recalled: Mapping[str, Gaps],
    *,
    figures: Mapping[str, Figures] | None = None,
    told: Mapping[str, float] | None = None,
    scenes: float = 0.0,
    videos: int = 32,
) -> Path:
    """Arms that drift like `figures` and recall so much, with half a decibel of noise per video.

    Scenes differ by so many decibels for all arms alike. The probe tells what comes back right with the
    probabilities in `told`, by default in half of the videos.
    """
    drifts = {arm: (figures or {}).get(arm, GOOD) for arm in (*recalled, CONTROL)}
    made_up_grid(folder, drifts, videos=videos)
    random, probing = np.random.default_rng(0), np.random.default_rng(1)
    easy = np.random.default_rng(2).standard_normal(videos)
    for arm, gaps in ({CONTROL: {8: 8.0}} | recalled).items():
        scores = folder / arm / "seed0" / "scores"
        prompts = _prompts(scores)
        returns = [
            [
                {
                    "kind": "recall",
                    "gap": gap,
                    "agreement": 0.5,
                    "psnr": psnr + scenes * ease + 0.5 * random.standard_normal(),
                    "weight": 1.0,
                    "reason": None,
                }
                for gap, psnr in gaps.items()
            ]
            + [
                {
                    "kind": "told",
                    "gap": gap,
                    "agreement": float(probing.random() < (told or {}).get(arm, 0.5)),
                    "psnr": None,
                    "weight": 1.0,
                    "reason": None,
                }
                for gap in gaps
            ]
            for _, ease in zip(prompts, easy, strict=False)
        ]
        content = {"clusters": prompts, "histories": {"own": returns, "true": returns}}
        (scores / "forgetting.json").write_text(json.dumps(content))
    return folder


def _prompts(scores: Path) -> list[str]:
    """One per video."""
    table = pd.read_parquet(scores / "videos.parquet").drop_duplicates("video")
    return [str(p) or f"seed {s}" for p, s in zip(table["prompt"], table["seed"], strict=True)]


def outcome(folder: Path, claim: str) -> Outcome:
    _, (checked,) = check_claims([folder], [claim])
    return checked.outcome


REMEMBERED = {ONE: {8: 10.0}, MANY: {8: 16.0}, RELEASED: {8: 13.0}}


def test_what_is_packed_is_remembered_or_is_not(tmp_path: Path) -> None:
    found = outcome(grid(tmp_path / "1", REMEMBERED), "memory/packing")
    assert found.status == "toy"
    (one,) = found.differences
    assert one.mean == pytest.approx(3, abs=0.4)
    forgotten = REMEMBERED | {RELEASED: {8: 8.0}}
    assert outcome(grid(tmp_path / "2", forgotten), "memory/packing").status == "not reproduced"
    same = REMEMBERED | {RELEASED: {8: 10.0}}
    assert outcome(grid(tmp_path / "3", same), "memory/packing").status == "inconclusive"


def test_the_verdict_ranks_arms_by_what_they_recall(tmp_path: Path) -> None:
    # released and one frame differ by less than the noise, all others by 3 dB and more
    comparison = compare_runs([grid(tmp_path / "still", REMEMBERED | {RELEASED: {8: 10.0}})])
    ranked = re.findall(r"([>=]?) ?“([^”]+)” ([\d.]+)", comparison.verdict.memory)
    (_, first, most), (sign, *_), (same, *_), (below, last, least) = ranked
    assert (sign, same, below) == (">", "=", ">")
    assert (first, last) == ("vanilla · 19 uncompressed frames", "no history")
    assert (float(most), float(least)) == pytest.approx((16, 8), abs=0.3)
    assert "over 6 paired differences" in comparison.verdict.memory
    assert comparison.verdict.text.startswith(comparison.verdict.memory)
    assert comparison.markdown.count("### Memory: ") == 1
    moving = compare_runs([made_up_grid(tmp_path / "moving", {RELEASED: GOOD, CONTROL: GOOD}, videos=32)])
    assert moving.verdict.memory == ""
    assert "Forgetting" not in moving.markdown


def test_runs_that_do_not_tell_their_controls_decide_nothing_about_memory(tmp_path: Path) -> None:
    blind = outcome(grid(tmp_path / "1", REMEMBERED | {MANY: {8: 9.0}}), "memory/packing")
    assert blind.status == "inconclusive"
    assert "would say reproduced" in blind.evidence
    few = outcome(grid(tmp_path / "2", REMEMBERED, videos=16), "memory/packing")
    assert few.status == "inconclusive"
    assert "32 prompts" in few.evidence
    lacking = {RELEASED: {8: 13.0}, ONE: {8: 10.0}}
    assert MANY in outcome(grid(tmp_path / "3", lacking), "memory/packing").evidence
    moving = made_up_grid(tmp_path / "4", {RELEASED: GOOD, CONTROL: GOOD}, videos=32)
    assert outcome(moving, "memory/packing").status == "not measured"


def test_beyond_its_reach_a_schedule_is_held_to_one_frame(tmp_path: Path) -> None:
    # 19 frames of history and 8 of the section reach back 27 frames
    cut = {ONE: {8: 10.0, 30: 10.0}, RELEASED: {8: 13.0, 30: 10.0}, MANY: {8: 16.0}}
    found = outcome(grid(tmp_path / "1", cut), "memory/reach")
    assert "hidden longer than 27 frames" in found.evidence
    assert len(found.differences) == 1, "within reach nothing is compared"
    assert found.differences[0].mean == pytest.approx(0, abs=0.4)
    fooled = cut | {RELEASED: {8: 13.0, 30: 13.0}}
    assert outcome(grid(tmp_path / "2", fooled), "memory/reach").status == "not reproduced"


@pytest.mark.parametrize(
    ("claim", "arm"),
    [("memory/first-frame", KEPT), ("memory/inverted", INVERTED), ("M14", SIMILAR)],
)
def test_arms_are_compared_with_the_same_without(claim: str, arm: str, tmp_path: Path) -> None:
    assert outcome(grid(tmp_path / "1", REMEMBERED), claim).status == "not measured"
    better = outcome(grid(tmp_path / "2", REMEMBERED | {arm: {8: 15.0}}), claim)
    assert better.status == "toy"
    assert better.differences[0].mean == pytest.approx(2, abs=0.4)
    worse = grid(tmp_path / "3", REMEMBERED | {arm: {8: 11.0}})
    assert outcome(worse, claim).status == "not reproduced"


def test_a_family_that_cannot_measure_some_score_tells_the_control_by_the_others(tmp_path: Path) -> None:
    arms = {RELEASED: GOOD, KEPT: GOOD, CONTROL: Figures(0.2)}
    folder = made_up_grid(tmp_path, arms, videos=32, seeds=(0, 1, 2))
    for file in folder.rglob("videos.parquet"):
        values = pd.read_parquet(file)
        undefined = values["score"].eq("semantic")
        assert undefined.any()
        values.loc[undefined, ["value", "drift"]] = np.nan
        values.to_parquet(file)
    assert Evidence(compare_runs([folder])).doubt == ""


def test_the_history_of_another_video_is_none(tmp_path: Path) -> None:
    still = REMEMBERED | {CONTROL: {8: 8.0}}
    assert outcome(grid(tmp_path / "1", still), "memory/shuffled").status == "not measured"
    nothing = grid(tmp_path / "2", still | {SHUFFLED: {8: 8.0}}, scenes=3.0)
    assert outcome(nothing, "memory/shuffled").status == "toy"
    something = grid(tmp_path / "3", still | {SHUFFLED: {8: 10.0}}, scenes=3.0)
    assert outcome(something, "memory/shuffled").status == "not reproduced"


def test_pixels_and_probe_agree_or_do_not(tmp_path: Path) -> None:
    recalled = {ONE: {8: 10.0}, RELEASED: {8: 12.0}, KEPT: {8: 14.0}, MANY: {8: 16.0}}
    rising = dict(zip(recalled, (0.05, 0.35, 0.65, 0.95), strict=True))
    found = outcome(grid(tmp_path / "1", recalled, told=rising), "memory/measures")
    assert (found.status, found.differences[0].mean) == ("toy", 1.0)
    falling = dict(zip(recalled, (0.95, 0.65, 0.35, 0.05), strict=True))
    found = outcome(grid(tmp_path / "2", recalled, told=falling), "memory/measures")
    assert (found.status, found.differences[0].mean) == ("not reproduced", -1.0)
    found = outcome(grid(tmp_path / "3", recalled), "memory/measures")
    assert found.status == "inconclusive"


def test_the_dilemma_is_the_rank_of_recall_with_that_of_drift(tmp_path: Path) -> None:
    recalled = {ONE: {8: 10.0}, RELEASED: {8: 12.0}, KEPT: {8: 14.0}, MANY: {8: 16.0}}
    slopes = dict(zip(recalled, (-0.1, -0.2, -0.3, -0.4), strict=True))
    agreeing = {arm: Figures(0.8, slope) for arm, slope in slopes.items()}
    found = outcome(grid(tmp_path / "1", recalled, figures=agreeing), "M20")
    assert (found.status, found.differences[0].mean) == ("toy", 1.0)
    opposed = {arm: Figures(0.8, -0.5 - slope) for arm, slope in slopes.items()}
    found = outcome(grid(tmp_path / "2", recalled, figures=opposed), "M20")
    assert (found.status, found.differences[0].mean) == ("not reproduced", -1.0)


def test_forgetting_and_drift_are_ranked_over_arms_of_any_settings(tmp_path: Path) -> None:
    noisy = f"{RELEASED}--objective.history.noise=0.1", f"{RELEASED}--objective.history.noise=0.2"
    recalled = {ONE: {8: 10.0}, noisy[0]: {8: 12.0}, noisy[1]: {8: 14.0}, MANY: {8: 16.0}, SHUFFLED: {8: 8.0}}
    slopes = dict(zip(recalled, (-0.1, -0.2, -0.3, -0.4, -0.6), strict=True))
    found = grid(tmp_path, recalled, figures={arm: Figures(0.8, slope) for arm, slope in slopes.items()})
    assert outcome(found, "M20").status == "not measured", "it is about plain recipes"
    made = outcome(found, "antidrift/trade-off")
    assert (made.status, made.differences[0].mean) == ("toy", 1.0)
    assert "over 4 arms" in made.evidence, "the history of another video is no memory"


def test_summed_errors_of_steps_are_ranked_with_drift(tmp_path: Path) -> None:
    arms = (ONE, RELEASED, KEPT, MANY)
    slopes = dict(zip(arms, (-0.1, -0.2, -0.3, -0.4), strict=True))
    figures = {arm: Figures(0.8, slope) for arm, slope in slopes.items()}
    made_up_grid(folder := tmp_path / "grid", figures | {CONTROL: Figures(0.1)}, videos=32)
    claim = "antidrift/step-errors"
    assert outcome(folder, claim).status == "not measured"
    for number, arm in enumerate(arms):
        if number == 3:
            assert outcome(folder, claim).status == "not measured", "three arms decide nothing"
        # one section more where the errors of each are smaller: what counts is the sum
        errors = [0.1 * (number + 1)] * 2 if number else [0.05] * 3
        made_up_steps(folder / arm / "seed0", {}, errors, seed=number)
    found = outcome(folder, claim)
    assert (found.status, found.differences[0].mean) == ("toy", 1.0)
    assert found.differences[0].clusters == 32
    for number, arm in enumerate(arms):
        made_up_steps(folder / arm / "seed0", {}, [0.5 - 0.1 * number], seed=number)
    found = outcome(folder, claim)
    assert (found.status, found.differences[0].mean) == ("not reproduced", -1.0)


def test_the_longest_horizon_decides_and_the_others_are_told(tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    control = {CONTROL: Figures(0.1)}
    made_up_grid(short, {RELEASED: GOOD, INVERTED: GOOD} | control, videos=32, frames=12)
    made_up_grid(long, {RELEASED: DRIFTING, INVERTED: GOOD} | control, videos=32, frames=20)
    for arm in (RELEASED, INVERTED, CONTROL):
        (long / arm).rename(long / f"{arm}--evaluation.frames=20")
    evidence, (checked,) = check_claims([short, long], ["M3"])
    assert evidence.frames == 20
    assert checked.outcome.status == "toy"
    assert checked.outcome.evidence.startswith("videos of 20 frames: ")
    assert "12 frames inconclusive" in checked.outcome.evidence
    assert "20 frames toy (mean effect +0.3" in checked.outcome.evidence
    assert "videos of 12 frames" in outcome(short, "M3").evidence
