"""Comparison tables and verdicts, on scores that are made up."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_runs import CONTROL, INVERTED, VANILLA
from fp_lab.lab.claims import check_claims
from fp_lab.lab.compare.comparison import Comparison, compare_runs
from fp_lab.lab.results.labels import short_label, short_labels
from fp_lab.lab.tables import Cell, Column, Line, Table, to_csv, to_html, to_markdown
from fp_lab.recipe import COMPRESSIONS, parse
from fp_lab.recipe.compressions import from_parts
from fp_metrics import holm, paired_permutation
from made_up_scores import Figures, made_up_grid

TWIN = "td_f16k4f2k2f1k1_g5"
GOOD, DRIFTING, WEAK = Figures(0.9, -0.02), Figures(0.9, -0.5), Figures(0.3, 0.0)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = {VANILLA: DRIFTING, TWIN: DRIFTING, INVERTED: GOOD, CONTROL: WEAK}
    return made_up_grid(tmp_path_factory.mktemp("grid"), arms, families=("plain", "world"))


@pytest.fixture(scope="module")
def comparison(grid: Path) -> Comparison:
    return compare_runs([grid])


def cells(comparison: Comparison, table: str, column: str) -> dict[str, Cell]:
    (found,) = [t for t in comparison.tables if t.key == table]
    index = [c.key for c in found.columns].index(column)
    return {line.name: line.cells[index] for line in found.lines}


def test_the_best_is_marked_and_what_differs_is_no_tie(comparison: Comparison) -> None:
    anatomy = cells(comparison, "drift-world", "anatomy")
    assert anatomy[INVERTED].best
    assert not anatomy[VANILLA].tie
    assert anatomy[VANILLA].value == pytest.approx(0.5, abs=0.05)
    assert anatomy[VANILLA].low < 0.5 < anatomy[VANILLA].high + 0.05
    assert anatomy[VANILLA].extra.startswith("(−0.")  # the signed mean: it falls


def test_arms_that_cannot_be_told_apart_are_ties(tmp_path: Path) -> None:
    same = made_up_grid(tmp_path, {VANILLA: Figures(noise=0.1), INVERTED: Figures(noise=0.1)})
    comparison = compare_runs([same])
    (scores,) = [t for t in comparison.tables if t.key == "score-world"]
    marks = [{(line.cells[i].best, line.cells[i].tie) for line in scores.lines[:2]} for i in range(7)]
    assert marks.count({(True, False), (False, True)}) >= 5  # 5 % of the intervals miss by chance


def test_the_control_is_marked_and_not_ranked(comparison: Comparison) -> None:
    (drift,) = [t for t in comparison.tables if t.key == "drift-world"]
    kinds = {line.name: line.kind for line in drift.lines}
    assert kinds == {
        VANILLA: "arm",
        TWIN: "arm",
        INVERTED: "arm",
        CONTROL: "control",
        "ground truth": "floor",
    }
    assert all(not cell.best and not cell.tie for cell in drift.lines[-2].cells)


def test_an_arm_that_stands_still_is_flagged_and_wins_nothing(tmp_path: Path) -> None:
    """Its drift is 0.000, the least of all: the figure of a model that shows one picture for ever."""
    frozen = Figures(0.0, 0.0, 0.0, frozen=True)
    arms = {VANILLA: DRIFTING, INVERTED: GOOD, TWIN: frozen}
    comparison = compare_runs([made_up_grid(tmp_path, arms)])
    for column in ("clarity", "anatomy"):
        found = cells(comparison, "drift-world", column)
        assert abs(found[TWIN].value) < 1e-9 < found[INVERTED].value
        assert [name for name, cell in found.items() if cell.best] == [INVERTED]
        assert not found[TWIN].tie
    flag = "frozen: 16 of 16 videos"
    for form in (comparison.markdown, comparison.html, comparison.text):
        assert flag in form
    assert f"stands still ({flag})" in comparison.verdict.arms
    assert TWIN not in {arm for c in comparison.verdict.arm_contrasts for arm in (c.first, c.second)}


def test_where_the_true_videos_stand_still_too_an_arm_may_win(tmp_path: Path) -> None:
    still = Figures(1.0, 0.0, 0.0, frozen=True)
    grid = made_up_grid(tmp_path, {VANILLA: DRIFTING, INVERTED: still}, truth=still)
    assert cells(compare_runs([grid]), "drift-world", "anatomy")[INVERTED].best


def test_families_never_share_a_table(comparison: Comparison) -> None:
    for table in comparison.tables:
        names = {c.subtitle.partition("/")[0] for c in table.columns if "/" in c.subtitle}
        assert len(names) <= 1, table.key
    assert {t.key for t in comparison.tables} >= {
        "drift-world",
        "score-world",
        "gap-world",
        "drift-plain",
        "cost",
    }
    seven = ["clarity", "aesthetic", "motion", "dynamic", "semantic", "anatomy", "identity"]
    assert [c.key for c in comparison.tables[0].columns] == seven


def test_the_ground_truth_gives_the_noise_floor(comparison: Comparison, grid: Path) -> None:
    rows = pd.read_parquet(grid / "truth" / "scores" / "videos.parquet")
    rows = rows.query("history == 'truth' and estimator == 'world/shape-iou'")
    assert cells(comparison, "drift-world", "anatomy")["ground truth"].value == pytest.approx(
        rows["drift"].abs().mean()
    )


def test_undefined_cells_are_dashes_with_a_footnote(comparison: Comparison) -> None:
    (scores,) = [t for t in comparison.tables if t.key == "score-plain"]
    markdown = to_markdown(scores)
    row = next(line for line in markdown.splitlines() if VANILLA in line)
    assert "– [1]" in row
    assert "[1] undefined: needs what is not there" in markdown


def test_the_verdict_tells_control_and_arms_apart(comparison: Comparison) -> None:
    verdict = comparison.verdict
    assert verdict.family == "world"
    assert f"({CONTROL}) scores worse than every arm with history in clarity" in verdict.control
    assert "PSNR" in verdict.control
    assert "differ in drift by more than the noise" in verdict.arms
    assert "16 prompts, 1 training seed" in verdict.caveat
    assert "unreliable" not in verdict.caveat
    differing = {frozenset((c.first, c.second)) for c in verdict.arm_contrasts if c.significant}
    assert frozenset((VANILLA, INVERTED)) in differing
    assert frozenset((VANILLA, TWIN)) not in differing


def test_settings_choose_among_the_runs(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path, {VANILLA: GOOD, INVERTED: GOOD}, seeds=(0, 1))
    assert {arm.seeds for arm in compare_runs([grid]).gathered.arms} == {(0, 1)}
    assert {arm.seeds for arm in compare_runs([grid], ["seed=1"]).gathered.arms} == {(1,)}
    (arm,) = compare_runs([grid], [f"recipe={INVERTED}"]).gathered.arms
    assert arm.name == INVERTED
    with pytest.raises(ValueError, match=r"\bscored .*\bseed=7"):
        compare_runs([grid], ["seed=7"])
    with pytest.raises(ValueError, match=r"'sed'.* seed\?"):
        compare_runs([grid], ["sed=1"])


def test_the_verdict_admits_that_nothing_can_be_told(tmp_path: Path) -> None:
    arms = {VANILLA: GOOD, INVERTED: GOOD, CONTROL: GOOD}
    verdict = compare_runs([made_up_grid(tmp_path, arms, videos=6)]).verdict
    assert "does not differ significantly from any arm" in verdict.control
    assert "do not differ in drift by more than the noise" in verdict.arms
    assert "below 16 prompts intervals are unreliable" in verdict.caveat


def test_the_verdict_names_the_arms_that_are_no_better_than_no_history(tmp_path: Path) -> None:
    arms = {VANILLA: DRIFTING, TWIN: DRIFTING, INVERTED: DRIFTING, CONTROL: DRIFTING}
    arms[VANILLA] = arms[TWIN] = GOOD
    verdict = compare_runs([made_up_grid(tmp_path, arms, videos=16)]).verdict
    assert f"({CONTROL}) scores worse than 2 of 3 arms in" in verdict.control
    assert "it does not differ significantly there from “inverted · temporal”" in verdict.control


def test_training_seeds_are_pooled_and_paired(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path, {VANILLA: DRIFTING, INVERTED: GOOD}, videos=4, seeds=(0, 1, 2))
    comparison = compare_runs([grid])
    assert all(arm.seeds == (0, 1, 2) for arm in comparison.gathered.arms)
    assert "needs 3 training seeds" not in comparison.verdict.caveat
    assert comparison.verdict.arm_contrasts[0].difference.clusters == 4  # prompts, not prompts times seeds


@pytest.mark.parametrize("fewer", [False, True])
def test_one_basis_for_tables_verdict_and_claims(fewer: bool, tmp_path: Path) -> None:
    """Where one arm lacks a third training, the other two are no more certain for having it."""
    grid = made_up_grid(tmp_path, {VANILLA: DRIFTING, INVERTED: GOOD, CONTROL: WEAK}, seeds=(0, 1, 2))
    if fewer:
        shutil.rmtree(grid / INVERTED / "seed2")
    evidence, (claim,) = check_claims([grid], ["M3"])
    assert evidence.comparison is not None
    comparison = evidence.comparison
    rows = pd.concat(
        pd.read_parquet(run / "scores" / "videos.parquet").assign(arm=run.parent.name)
        for run in grid.glob("*/seed*")
    ).query("history == 'own' and estimator == 'world/shape-iou'")
    means = rows.groupby(["arm", "prompt"])["value"].mean()
    test = "sign-flip permutation test over prompts" if fewer else "t-test over training seeds and prompts"
    counts = f"training seeds: 2 ({INVERTED}), 3 (" if fewer else "3 training seeds per arm"
    for found in comparison.verdict.control_contrasts:
        if found.column == "anatomy":
            flips = paired_permutation((means[found.first] - means[found.second]).to_numpy())
            assert (found.p == pytest.approx(flips)) == fewer
    for key in ("drift-world", "score-world", "drift-given-world", "gap-world"):
        notes = " ".join(comparison.table(key).notes)
        assert test in notes
        assert counts in notes
    assert counts in comparison.verdict.caveat
    assert counts in evidence.scope
    assert ("these trained models" in evidence.scope) == fewer == ("models" in comparison.verdict.caveat)
    told = {one.name: one for one in claim.outcome.differences}
    pairs = [c for c in comparison.verdict.arm_contrasts if (c.first, c.second) == (VANILLA, INVERTED)]
    assert len(pairs) == len(told) == 7
    for c in pairs:
        own = told[f"{c.column}, against vanilla"]
        expected = c.difference.mean, c.difference.low, c.difference.high
        assert (own.mean, own.low, own.high) == pytest.approx(expected, abs=1e-9)


def test_nothing_is_marked_below_sixteen_prompts(tmp_path: Path) -> None:
    few = compare_runs([made_up_grid(tmp_path / "few", {VANILLA: DRIFTING, INVERTED: GOOD}, videos=3)])
    for key in ("drift-world", "score-world", "drift-given-world"):
        table = few.table(key)
        assert not any(cell.best or cell.tie or cell.stars for line in table.lines for cell in line.cells)
        assert any("16 prompts" in note and VANILLA in note and INVERTED in note for note in table.notes)
    assert "carry no marks" in few.text

    grid = made_up_grid(tmp_path / "one", {VANILLA: DRIFTING, INVERTED: GOOD, TWIN: Figures(1.0)})
    path = grid / TWIN / "seed0" / "scores" / "videos.parquet"
    pd.read_parquet(path).query("video < 3").to_parquet(path)
    comparison = compare_runs([grid])
    anatomy = cells(comparison, "score-world", "anatomy")
    assert anatomy[TWIN].value > anatomy[INVERTED].value
    assert [name for name, cell in anatomy.items() if cell.best] == [INVERTED]
    assert not anatomy[TWIN].tie
    assert not anatomy[TWIN].stars
    (note,) = [note for note in comparison.table("score-world").notes if "unreliable" in note]
    assert note.endswith(f": {TWIN}.")


def test_arms_without_a_common_video_get_no_mark_and_are_named(tmp_path: Path) -> None:
    """Two arms on the same videos, a third one, better than both, on others."""
    made_up_grid(tmp_path / "one", {VANILLA: Figures(0.8), TWIN: Figures(0.8)}, videos=16)
    other = made_up_grid(tmp_path / "other", {INVERTED: Figures(0.9)}, videos=16)
    path = other / INVERTED / "seed0" / "scores" / "videos.parquet"
    rows = pd.read_parquet(path)
    rows.assign(seed=rows["seed"] + 100, prompt="another " + rows["prompt"]).to_parquet(path)
    comparison = compare_runs([tmp_path / "one", other])
    scores = comparison.table("score-world")
    best = {line.name for line in scores.lines for cell in line.cells if cell.best}
    assert best <= {VANILLA, TWIN}
    (apart,) = [line for line in scores.lines if line.name == INVERTED]
    assert all(not cell.tie and not cell.stars for cell in apart.cells)
    assert any("Not ranked" in note and INVERTED in note for note in scores.notes)
    assert any(f"{INVERTED} (0 of 16)" in note for note in scores.notes)
    alone = compare_runs([tmp_path / "one" / VANILLA, other]).table("score-world")
    assert not any(cell.best or cell.tie or cell.stars for line in alone.lines for cell in line.cells)


def test_scores_of_which_neither_direction_is_better_are_not_ranked_or_starred(tmp_path: Path) -> None:
    """How much moves is no quality; arms whose figures are far apart get no mark for it."""
    grid = made_up_grid(tmp_path, {VANILLA: Figures(0.9), INVERTED: Figures(0.3), CONTROL: Figures(0.1)})
    for path in grid.glob("*/seed0/scores/summary.json"):
        summary = json.loads(path.read_text())
        summary["estimators"]["world/speed-reached"]["higher_is_better"] = None
        path.write_text(json.dumps(summary))
    comparison = compare_runs([grid])
    dynamic = cells(comparison, "score-world", "dynamic").values()
    assert not any(cell.best or cell.tie or cell.stars for cell in dynamic)
    assert all(cell.stars for cell in [cells(comparison, "score-world", "clarity")[INVERTED]])
    columns = {c.column for c in comparison.verdict.control_contrasts}
    assert "clarity" in columns
    assert "dynamic" not in columns


def _set(run: Path, old: str, new: str) -> None:
    config = run / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


def test_what_arms_differ_in_beside_their_names_is_named(tmp_path: Path) -> None:
    named = f"{VANILLA}--training.steps=6"
    grid = made_up_grid(tmp_path, {VANILLA: GOOD, INVERTED: GOOD, named: GOOD}, videos=2)
    assert "Beside what" not in compare_runs([grid]).verdict.text
    _set(grid / named / "seed0", "steps: 80", "steps: 6")
    assert "training.steps" not in compare_runs([grid]).verdict.text, "its name tells it"
    _set(grid / INVERTED / "seed0", "steps: 80", "steps: 4")
    _set(grid / INVERTED / "seed0", "threads: 2", "threads: 1")  # changes nothing that is measured
    comparison = compare_runs([grid])
    for text in (comparison.verdict.text, *comparison.table("drift-world").notes[-1:]):
        assert f"training.steps 4 ({INVERTED}), 80 ({VANILLA})" in text
        assert "threads" not in text


def test_training_seeds_of_other_settings_do_not_share_a_row(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path, {VANILLA: GOOD}, videos=2, seeds=(0, 1))
    _set(grid / VANILLA / "seed1", "steps: 80", "steps: 6")
    with pytest.raises(ValueError, match=r"training\.steps: .*seed0 .*80, .*seed1 .*6\b"):
        compare_runs([grid])
    assert compare_runs([grid], ["training.steps=6"]).gathered.arms[0].seeds == (1,)


def test_tables_are_written_and_can_be_read_back(comparison: Comparison, tmp_path: Path) -> None:
    comparison.write(tmp_path)
    table = pd.read_csv(tmp_path / "table.csv").set_index("arm")
    assert list(table.index) == [line.name for line in comparison.tables[0].lines]
    assert table.loc[INVERTED, "drift-world.anatomy.mark"] == "best"
    assert table.loc[CONTROL, "kind"] == "control"
    assert np.isfinite(table.loc[VANILLA, "cost.tokens_per_second"])
    found = pd.read_html(tmp_path / "table.html", flavor="lxml") if _has_lxml() else None
    assert found is None or len(found) == len(comparison.tables)
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["control"] == comparison.verdict.control
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:7]}) == 1


def _has_lxml() -> bool:
    try:
        import lxml  # noqa: F401
    except ImportError:
        return False
    return True


def test_runs_can_be_named_one_by_one_and_missing_scores_are_named(grid: Path, tmp_path: Path) -> None:
    two = compare_runs([grid / VANILLA / "seed0", grid / INVERTED])
    assert [arm.name for arm in two.gathered.arms] == [VANILLA, INVERTED]
    assert "no control" in two.verdict.control
    (tmp_path / VANILLA / "seed0" / "samples").mkdir(parents=True)
    with pytest.raises(ValueError, match=rf"\bscored .*{re.escape(str(tmp_path))};"):
        compare_runs([tmp_path])
    with pytest.raises(ValueError, match=r"folder .*/nowhere;"):
        compare_runs([tmp_path / "nowhere"])


def test_other_protocols_do_not_share_a_table(tmp_path: Path) -> None:
    one = made_up_grid(tmp_path / "one", {VANILLA: GOOD}, videos=2)
    other = made_up_grid(tmp_path / "other", {INVERTED: GOOD}, frames=13, videos=2)
    with pytest.raises(ValueError, match=r"frames=13.* 12\b"):
        compare_runs([one, other])


@pytest.mark.parametrize("order", ["vanilla", "endpoint", "inverted"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_recipes_with_a_name_are_called_by_it(compression: str, order: str) -> None:
    told, _, name = short_label(from_parts(compression, order)).partition(" · ")
    assert told == order
    name = name.replace(" ", "_")
    assert from_parts(name, order) == from_parts(compression, order)  # an inverted one may have two names


def test_other_recipes_are_called_by_their_levels_or_their_notation() -> None:
    assert short_label(parse("g4")) == "no history"
    assert short_label(parse("td_f4k4f1k1_g9")) == "vanilla · f4k4f1k1"
    assert short_label(parse("td_f19k1_g9")) == "vanilla · 19 uncompressed frames"
    assert short_label(parse("f1k1_x_g9_f1k1_td")) == "inverted · 1 uncompressed frame"
    assert short_label(parse("f2k1_x_f16k4f2k2f1k1_g9")) == "vanilla · released + sink 2"
    planned = "f16k4f2k2f1k1_x_g9_x_f1k1_x_f1k1"
    assert short_label(parse(planned)) == planned


def test_labels_tell_what_differs_and_nothing_else() -> None:
    sections = {
        "td_f16k4f2k2f1k1_g9": "vanilla · released, g9",
        "tc_f16k4f2k2f1k1_g9": "vanilla · released, g9, tc",
        "td_f16k4f2k2f1k1_g4": "vanilla · released, g4",
        "td_f16k4f2k2f1k1_g4+D": "vanilla · released + D",
        "f1k1_x_g4_f1k1f2k2f16k4_td": "inverted · released",
        "g9": "no history",
        "g4--training.steps=6": "no history, training.steps=6",
        "anchor_frames": "anchor frames",
    }
    recipes = {name: parse("f1k1_g9" if name[0] == "a" else name.partition("--")[0]) for name in sections}
    assert short_labels(recipes) == sections


def test_markup_in_names_does_not_break_a_page() -> None:
    line = Line(
        "a<b>&c", "", "vanilla", (Cell(1.25, 1.0, 1.5, best=True), Cell(float("nan"), reason="<why>"))
    )
    table = Table("t", "T", (Column("x", "x", "", "lower", 2), Column("y", "y")), (line,))
    html = to_html(table)
    assert "a&lt;b&gt;&amp;c" in html
    assert "&lt;why&gt;" in html
    assert not re.search(r"<b>|<why>", html)
    assert "1.25" in html
    assert "±0.25" in html
    assert to_csv([table]).splitlines()[1].startswith("a<b>&c,,vanilla,arm,1.25,1.0,1.5,best,")


def test_codebooks_are_reported_where_there_are_any(
    comparison: Comparison, grid: Path, tmp_path: Path
) -> None:
    assert "codebook" not in {table.key for table in comparison.tables}
    copy = tmp_path / "grid"
    shutil.copytree(grid, copy)
    stats = {"size": 128, "used": 120, "perplexity": 67.4, "relative_error": 0.2}
    (copy / VANILLA / "seed0" / "train").mkdir(exist_ok=True)
    (copy / VANILLA / "seed0" / "train" / "codebook.json").write_text(json.dumps(stats))
    (table,) = [table for table in compare_runs([copy]).tables if table.key == "codebook"]
    assert [line.name for line in table.lines] == [VANILLA]
    assert [cell.value for cell in table.lines[0].cells] == [128, 120, 67.4, 0.2]
    assert "67.4" in to_markdown(table)


def test_arms_of_one_compression_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    sizes = ("+D16", "+D1024", "", "+D256")
    arms = {f"td_f16k4f2k2f1k1_g5{size}": GOOD for size in sizes}
    labels = [arm.label for arm in compare_runs([made_up_grid(tmp_path, arms, videos=2)]).gathered.arms]
    start = "vanilla · released"
    assert labels == [start, f"{start} + D16", f"{start} + D256", f"{start} + D1024"]


def test_stars_say_what_differs_from_the_reference(comparison: Comparison, grid: Path) -> None:
    """As by one test per arm and column, all 21 of a table corrected together."""
    anatomy = cells(comparison, "drift-world", "anatomy")
    assert np.isnan(anatomy[VANILLA].p)  # VANILLA comes first among the vanilla arms: the reference
    assert anatomy[INVERTED].stars
    assert not anatomy[TWIN].stars
    (drift,) = [t for t in comparison.tables if t.key == "drift-world"]
    assert any(
        note.startswith(f"Stars: differs from {VANILLA}") and "21 differences" in note for note in drift.notes
    )
    rows = pd.concat(
        pd.read_parquet(grid / arm / "seed0" / "scores" / "videos.parquet").assign(arm=arm)
        for arm in (TWIN, VANILLA, INVERTED, CONTROL)
    ).query("history == 'own' and family == 'world'")
    wide = rows.assign(size=rows["drift"].abs()).pivot(
        index="seed", columns=["estimator", "arm"], values="size"
    )
    estimators = list(dict.fromkeys(rows["estimator"]))
    others = [INVERTED, TWIN, CONTROL]
    p = holm([paired_permutation(wide[e][arm] - wide[e][VANILLA]) for e in estimators for arm in others])
    place = estimators.index("world/shape-iou") * 3
    assert [anatomy[arm].p for arm in others] == pytest.approx(p[place : place + 3].tolist())


def test_the_reference_can_be_chosen(grid: Path) -> None:
    chosen = compare_runs([grid], against=INVERTED)
    assert np.isnan(cells(chosen, "drift-world", "anatomy")[INVERTED].p)
    assert cells(chosen, "drift-world", "anatomy")[VANILLA].stars
    with pytest.raises(ValueError, match=f"got --against nobody, expected .*{VANILLA}"):
        compare_runs([grid], against="nobody")


def test_of_very_many_arms_each_is_compared_with_the_reference_alone(tmp_path: Path) -> None:
    arms = {f"td_f16k4f2k2f1k1_g5--training.steps={n}": GOOD for n in range(26)} | {CONTROL: WEAK}
    comparison = compare_runs([made_up_grid(tmp_path, arms)])
    first = comparison.gathered.arms[0].name
    assert {c.first for c in comparison.verdict.arm_contrasts} == {first}
    assert len(comparison.verdict.arm_contrasts) == 25 * 7
    assert "more than 24 arms: each is compared with the reference arm alone" in comparison.verdict.caveat
    (drift,) = [t for t in comparison.tables if t.key == "drift-world"]
    assert any("Holm over the 182 differences" in note for note in drift.notes)


def test_every_format_has_every_table(comparison: Comparison, tmp_path: Path) -> None:
    assert comparison.written("latex").count(r"\begin{table}") == len(comparison.tables)
    assert comparison.written("html").count("<table>") == len(comparison.tables)
    assert comparison.written("csv").startswith("arm,label,order,kind")
    comparison.write(tmp_path)
    assert (tmp_path / "table.tex").read_text() == comparison.written("latex")


def test_a_table_is_found_by_its_key(comparison: Comparison) -> None:
    assert [comparison.table(table.key) for table in comparison.tables] == list(comparison.tables)
    with pytest.raises(ValueError, match=r"got table 'drift-nothing', expected .*drift-world, score-world"):
        comparison.table("drift-nothing")
