"""Runs in MLflow: found again, closed however they end, and caught up with when the store was away."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

from fp_lab.lab.grids.engines import InProcess
from fp_lab.lab.grids.progress import GridProgress
from fp_lab.lab.grids.scheduler import ArmScheduler
from fp_lab.lab.runtime.reporter import Step
from fp_lab.lab.tracking import RESULTS_TAG, TrackedRun, Tracker, Unreachable
from fp_lab.lab.tracking import store as store_module
from fp_lab.lab.tracking.address import mlflow_command


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def client(runs: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")


def step(number: int) -> Step:
    return Step(number, loss=1 / number, learning_rate=0.1, seconds=0.2)


def arm(runs: Path, key: str, parameters: Mapping[str, Any] | None = None) -> TrackedRun:
    tracker = Tracker(runs)
    parent = tracker.grid("grid", runs / "grid")
    return tracker.arm(parent, "arm", key, parameters or {}, runs / "grid" / "arm" / "seed0")


def test_a_run_opened_again_is_not_told_twice(runs: Path) -> None:
    first = arm(runs, "key", {"a.b": 1, "long": "x" * 9000})
    with first.closing():
        for number in range(1, 31):
            first.log_step(step(number))
        first.mark(RESULTS_TAG, "first")
    again = arm(runs, "key", {"a.b": 1})
    parents = [Tracker(runs).grid(name, runs / "grid").opened() for name in ("grid", "another name")]
    assert parents[0] == parents[1]
    assert again.opened() == first.opened() != arm(runs, "another key").opened()
    with again.closing():
        assert again.has(RESULTS_TAG, "first")
        assert not again.has(RESULTS_TAG, "second")
        for number in range(25, 33):
            again.log_step(step(number))
        again.log_steps({number: step(number).figures for number in range(1, 35)})
    history = client(runs).get_metric_history(first.opened(), "train/loss")
    assert sorted(entry.step for entry in history) == list(range(1, 35))
    stored = client(runs).get_run(first.opened())
    assert stored.data.params["a.b"] == "1"
    assert len(stored.data.params["long"]) == 6000
    assert stored.info.artifact_uri.startswith((runs / "mlartifacts").resolve().as_uri())


def test_steps_that_were_lost_when_a_process_was_killed_are_told_afterwards(runs: Path) -> None:
    killed, resumed = arm(runs, "lost"), arm(runs, "lost")
    killed.log_step(step(1))  # still waits when the process dies
    with resumed.closing():
        resumed.log_step(step(9))
        assert resumed.flush()
        resumed.log_steps({number: step(number).figures for number in range(1, 11)})
    history = client(runs).get_metric_history(resumed.opened(), "train/loss")
    assert sorted(entry.step for entry in history) == list(range(1, 11))


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_is_closed_however_it_ends(runs: Path, error: type[BaseException] | None, status: str) -> None:
    ends = arm(runs, f"ends {status}")
    with pytest.raises(error) if error else nullcontext(), ends.closing():
        ends.log_step(step(1))
        ends.log_figures({"good": 1.5, "undefined": float("nan"), "endless": float("inf")})
        ends.log_machine({"cpu_utilization_percentage": 12.0})
        if error:
            raise error
    stored = client(runs).get_run(ends.opened())
    assert stored.data.metrics["good"] == 1.5
    assert stored.data.metrics["train/loss"] == 1.0
    assert stored.data.metrics["system/cpu_utilization_percentage"] == 12.0
    assert not {"undefined", "endless"} & set(stored.data.metrics)
    assert client(runs).get_run(ends.opened()).info.status == status


def test_children_are_known_by_folder_status_and_results(runs: Path) -> None:
    killed = arm(runs, "stays open")
    killed.opened()
    tracker = Tracker(runs)
    parent = tracker.grid("grid", runs / "grid")
    (child,) = [child for child in tracker.children(parent) if child.id == killed.opened()]
    assert child.status == "RUNNING"
    assert child.folder == (runs / "grid" / "arm" / "seed0").resolve()
    tracker.close_killed(child)
    assert client(runs).get_run(child.id).info.status == "KILLED"


def test_a_store_that_is_away_is_caught_up_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tracker = Tracker(tmp_path, said.append)
    parent = tracker.grid("grid", tmp_path / "grid")
    run = tracker.arm(parent, "arm", "key", {}, tmp_path / "arm")
    run.opened()

    def away(*given: object, **more: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(store_module, "_ASK_AGAIN", 0.0)
    with monkeypatch.context() as gone:
        gone.setattr(MlflowClient, "log_batch", away)
        for number in (1, 2, 3):
            run.log_step(step(number))
        assert not run.flush()
        with pytest.raises(Unreachable):
            run.log_figures({"score": 1.0})
    assert len(said) == 1
    assert "nobody there" in said[0]
    assert run.close("FINISHED")
    assert "answers again" in said[1]
    history = client(tmp_path).get_metric_history(run.opened(), "train/loss")
    assert sorted(entry.step for entry in history) == [1, 2, 3]


def test_a_store_that_has_just_failed_is_left_alone_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Tracker(tmp_path).grid("grid", tmp_path)
    run.opened()
    calls: list[object] = []

    def away(*given: object, **more: object) -> None:
        calls.append(given)
        raise ConnectionError("nobody there")

    monkeypatch.setattr(MlflowClient, "log_batch", away)
    for _ in range(5):
        with pytest.raises(Unreachable):
            run.log_figures({"score": 1.0})
    assert len(calls) == 1


def test_a_data_base_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", killed)
        with pytest.raises(KeyboardInterrupt):
            Tracker(tmp_path).grid("grid", tmp_path).open()
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / ".1.mlflow.db").write_bytes(b"half of a data base")
    assert Tracker(tmp_path).grid("grid", tmp_path).open()
    assert [path.name for path in tmp_path.glob("*.db")] == ["mlflow.db"]
    assert not (tmp_path / ".1.mlflow.db").exists()


def test_another_store_is_used_when_the_environment_names_one(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs / 'mlflow.db'}")
    assert Tracker(tmp_path / "elsewhere").grid("grid", tmp_path).open()
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()


def test_the_command_that_opens_mlflow_works_from_where_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "here" / ".venv" / "bin" / "mlflow"
    program.parent.mkdir(parents=True)
    (tmp_path / "else").mkdir()
    program.touch(mode=0o755)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/else/..//here/.venv/bin/python")
    for folder, shown in (("here", ".venv/bin/mlflow"), ("else", str(program))):
        monkeypatch.chdir(tmp_path / folder)
        assert mlflow_command(Path("runs")) == f"{shown} ui --backend-store-uri sqlite:///runs/mlflow.db"
    monkeypatch.setenv("PATH", str(program.parent))
    assert mlflow_command(Path("runs")).startswith("mlflow ui ")


def test_a_data_base_that_cannot_be_opened_is_given_up_in_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").mkdir()
    naps: list[float] = []
    monkeypatch.setattr("mlflow.store.db.utils.time.sleep", naps.append)
    said: list[str] = []
    with pytest.raises(Unreachable):
        store_module.Store(tmp_path, said.append).ask(lambda client: client.search_experiments())
    assert sum(naps) < 5
    assert ["does not answer" in line for line in said] == [True]


@pytest.mark.parametrize("address", ["not a uri", "nowhere://server"])
def test_what_is_no_address_is_told_once_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    said: list[str] = []
    tracker = Tracker(tmp_path, said.append)
    parent = tracker.grid("grid", tmp_path)
    with GridProgress(Console(quiet=True), 1) as progress:
        work = ArmScheduler([], InProcess(tmp_path / "cache"), tracker, parent, progress)
        work.unsent = ["an arm"]  # type: ignore[list-item]
        monkeypatch.setattr(ArmScheduler, "_send", lambda self, job: parent.open())
        monkeypatch.setattr("fp_lab.lab.grids.scheduler.time.sleep", lambda _: pytest.fail("it waits"))
        work.catch_up()
    (line,) = said
    assert line.startswith(f"MLFLOW_TRACKING_URI: got {address!r}, expected an address that MLflow takes")


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a b#c", "ä+b@c:d"])
def test_a_store_lies_in_the_folder_of_its_runs_whatever_its_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "runs"
    run = arm(folder, "key")
    (tmp_path / "scores.txt").write_text("1")
    with run.closing():
        run.log_files([tmp_path / "scores.txt"], "report")
    assert {path.name for path in tmp_path.iterdir()} == {name, "scores.txt"}
    assert (folder / "mlflow.db").is_file()
    assert len(list((folder / "mlartifacts").rglob("scores.txt"))) == 1
    shown = mlflow_command(folder).split(" --backend-store-uri ")[1]
    named = MlflowClient(shlex.split(shown)[0])
    assert [found.info.run_id for found in named.search_runs(["1"], "tags.fp_lab.arm_key = 'key'")] == [
        run.opened()
    ]


def test_a_folder_of_runs_can_be_moved(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    first = arm(before, "key")
    (tmp_path / "scores.txt").write_text("1")
    first.log_files([tmp_path / "scores.txt"], "report")
    before.rename(now)
    other, again = arm(now, "other key"), arm(now, "key")
    for run in (other, again):
        run.log_missing_files([tmp_path / "scores.txt"], "report")
    assert not before.exists()
    assert len(list((now / "mlartifacts").rglob("scores.txt"))) == 2
    assert again.opened() == first.opened()
    tracker = Tracker(now)
    children = tracker.children(tracker.grid("grid", now / "grid"))
    assert {child.id for child in children} == {other.opened(), again.opened()}
    assert {child.folder for child in children} == {(now / "grid" / "arm" / "seed0").resolve()}


def test_a_deleted_experiment_costs_a_line_that_says_how_to_restore_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Tracker(tmp_path).grid("grid", tmp_path)
    run.opened()
    client(tmp_path).delete_experiment("1")
    said: list[str] = []
    monkeypatch.setattr(store_module.time, "sleep", lambda seconds: pytest.fail("it waits"))
    away = Tracker(tmp_path, said.append)
    assert not away.grid("grid", tmp_path).open()
    with pytest.raises(ValueError, match=r"\bdeleted; .*\brestore\b.*Nothing"):
        away.scores("key", "videos", {})
    (line,) = said
    assert "is deleted" in line
    restore = line.partition("restores it: ")[2].partition(". Work goes on")[0]
    setting, _, *command = shlex.split(restore)
    assert setting == f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path / 'mlflow.db'}"
    assert command[-4:-1] == ["experiments", "restore", "--experiment-id"]
    client(tmp_path).restore_experiment(command[-1])
    assert Tracker(tmp_path).grid("grid", tmp_path).opened() == run.opened()
