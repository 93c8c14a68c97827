"""A grid with other settings than before: both results are kept, compared apart, and told from each other."""

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.engines.choose import make_engine
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import GridResult, grid_jobs, run_grid
from fp_lab.lab.provenance import record
from fp_lab.lab.provenance.record import code_of
from fp_lab.lab.runs import other_code
from fp_lab.lab.runtime.environment import git_state
from fp_lab.weights.files import file_sha256

ARM, OTHER = "td_f2k2f1k1_g3", "f1k1_x_g3_f1k1f2k2_td"
BESIDE = f"{ARM}--sampling.solver.steps=3"
ARMS = {ARM: "{compression: f2k2f1k1, order: vanilla}", OTHER: "{compression: f2k2f1k1, order: inverted}"}

Run = Callable[..., GridResult]


@pytest.fixture(scope="module")
def said() -> Console:
    return Console(record=True, width=400, file=StringIO())


@pytest.fixture(scope="module")
def run(folder: Path, said: Console) -> Run:
    def run(*overrides: str, arms: tuple[str, ...] = (ARM, OTHER), redo: bool = False) -> GridResult:
        text = f"base: tiny\ncommon: {{section: 3}}\narms: [{', '.join(ARMS[name] for name in arms)}]\n"
        (folder / "two.yaml").write_text(text)
        grid = load_grid(folder / "two.yaml", overrides)
        return run_grid(grid, folder / "runs", said, command=" ".join(overrides), redo=redo)

    return run


@pytest.fixture(scope="module")
def both(run: Run) -> tuple[GridResult, GridResult]:
    """A grid of two arms, then one of them, sampled in other steps."""
    return run(), run("sampling.solver.steps=3", arms=(ARM,))


def state(result: GridResult, name: str) -> dict[str, str]:
    files = sorted(file for file in (result.folder / name).rglob("*") if file.is_file())
    return {str(file): file_sha256(file) for file in files if not file.name.startswith(".")}


def arms_in(result: GridResult) -> set[str]:
    assert result.report is not None
    with (result.report.parent / "table.csv").open() as file:
        return {row["arm"] for row in csv.DictReader(file)} - {""}


def test_each_report_holds_the_arms_of_its_own_command(both: tuple[GridResult, GridResult]) -> None:
    first, second = both
    assert [str(path.relative_to(first.folder)) for path in second.runs] == [f"{BESIDE}/seed0"]
    assert first.report == first.folder / "report" / "index.html"
    assert second.report == first.folder / "reports" / "sampling.solver.steps=3" / "report" / "index.html"
    assert {ARM, OTHER} <= arms_in(first)
    assert BESIDE not in arms_in(first)
    assert BESIDE in arms_in(second)
    assert not {ARM, OTHER} & arms_in(second)


def test_the_trained_model_is_taken_over_and_its_origin_told(both: tuple[GridResult, GridResult]) -> None:
    first, second = both
    ours, theirs = RunFolder(second.runs[0]), RunFolder(first.folder / ARM / "seed0")
    weights = ours.model / "model.safetensors"
    assert weights.samefile(theirs.model / "model.safetensors")
    made_with = json.loads(ours.provenance.read_text())
    assert (ours.path / made_with["train"]["taken_over_from"]).resolve() == theirs.path.resolve()
    assert file_sha256(ours.samples / "own.safetensors") != file_sha256(theirs.samples / "own.safetensors")
    costs = json.loads(ours.efficiency.read_text())
    assert costs["step_seconds"] == json.loads(theirs.efficiency.read_text())["step_seconds"]


@pytest.mark.parametrize("workers", [1, 2])
def test_arms_that_differ_after_training_are_trained_once(folder: Path, tmp_path: Path, workers: int) -> None:
    arms = "{compression: f2k2f1k1}, {compression: f2k2f1k1, sampling.solver.steps: 3}"
    (folder / "once.yaml").write_text(
        f"base: tiny\ncommon: {{section: 3, order: vanilla, evaluation.families: [plain]}}\narms: [{arms}]\n"
    )
    said = Console(record=True, width=400, file=StringIO())
    grid = load_grid(folder / "once.yaml")
    engine = make_engine("local", workers, tmp_path / "cache", {})
    result = run_grid(grid, tmp_path / "runs", said, command="", engine=engine)
    first, second = map(RunFolder, result.runs)
    assert (second.model / "model.safetensors").samefile(first.model / "model.safetensors")
    assert "taken_over_from" in json.loads(second.provenance.read_text())["train"]
    assert file_sha256(second.samples / "own.safetensors") != file_sha256(first.samples / "own.safetensors")
    assert said.export_text().count("train, sample, score") == 1
    tracked = load_grid(folder / "once.yaml", ["track.every=1"])
    assert not any(job.trained for job in grid_jobs(tracked, tmp_path / "tracked")), "with scores of its own"


def test_an_arm_that_is_gone_from_the_file_is_gone_from_the_table(
    run: Run, both: tuple[GridResult, GridResult]
) -> None:
    before = state(both[0], OTHER)
    fewer = run(arms=(ARM,))
    assert ARM in arms_in(fewer)
    assert OTHER not in arms_in(fewer)
    assert state(fewer, OTHER) == before, "its results stay"
    assert [arm["folder"] for arm in _yaml(fewer.reported / "grid.yaml")["arms"]] == [f"{ARM}/seed0"]


def test_other_code_is_told_and_stages_are_done_again_only_when_asked(
    run: Run, both: tuple[GridResult, GridResult], said: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"commit": "abcdef0123456789", "changed": [], "diff": ""}
    for module in (other_code, record):
        monkeypatch.setattr(module, "git_state", lambda: other)
    before = state(both[0], ARM)
    said.export_text()
    run(arms=(ARM,))
    told = said.export_text()
    assert "commit abcdef0" in told
    assert "1 of 1 arms" in told
    assert "--redo" in told
    assert state(both[0], ARM) == before
    run(arms=(ARM,), redo=True)
    place = RunFolder(both[0].folder / ARM / "seed0")
    made_with = json.loads(place.provenance.read_text())
    assert {made_with[stage]["git"]["commit"] for stage in made_with} == {other["commit"]}
    assert file_sha256(place.model / "model.safetensors") == before[str(place.model / "model.safetensors")]
    said.export_text()
    run(arms=(ARM,))
    assert "--redo" not in said.export_text()


def test_code_is_known_by_its_commit_its_changes_or_its_version() -> None:
    version = {"environment": {"versions": {"fp_lab": "0.9"}}}
    commit = {"commit": "0123456789", "changed": [], "diff": "e3b0"}
    changed = commit | {"changed": ["fp_lab/flow/matching.py"], "diff": "aaaa1111"}
    other = changed | {"diff": "bbbb2222"}
    codes = [code_of(version | {"git": git}) for git in (None, commit, changed, other)]
    assert len(set(codes)) == 4
    assert all(part in code for part, code in zip(("0.9", "0123456", "aaaa", "bbbb"), codes, strict=True))
    now = git_state()
    assert now is None or len(now["diff"]) == 64


def _yaml(path: Path) -> dict[str, list[dict[str, str]]]:
    from fp_lab.lab.config import ExperimentConfig, read_yaml

    return dict(read_yaml(path, ExperimentConfig).values)
