from contextlib import nullcontext
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fp_lab.lab.reporter import Step
from fp_lab.lab.tracking import Tracker


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def client(runs: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")


def step(number: int) -> Step:
    return Step(number, loss=1 / number, learning_rate=0.1, seconds=0.2)


def test_a_run_opened_again_is_not_told_twice(runs: Path) -> None:
    tracker = Tracker(runs)
    parent = tracker.grid("grid", runs / "grid")
    with tracker.arm(parent, "arm", "key", {"a.b": 1, "long": "x" * 9000}).closing() as arm:
        for number in range(1, 31):
            arm.log_step(step(number))
        arm.mark_results("first")
    again = Tracker(runs)
    assert again.grid("grid", runs / "grid").id == parent.id
    other = again.arm(parent, "arm", "another key", {})
    with again.arm(parent, "arm", "key", {"a.b": 1}).closing() as resumed:
        assert resumed.id == arm.id != other.id
        assert resumed.has_results("first")
        assert not resumed.has_results("second")
        for number in range(25, 35):
            resumed.log_step(step(number))
    history = client(runs).get_metric_history(arm.id, "train/loss")
    assert sorted(entry.step for entry in history) == list(range(1, 35))
    stored = client(runs).get_run(arm.id)
    assert stored.data.params["a.b"] == "1"
    assert len(stored.data.params["long"]) == 6000
    assert stored.info.artifact_uri.startswith((runs / "mlartifacts").resolve().as_uri())


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_is_closed_however_it_ends(runs: Path, error: type[BaseException] | None, status: str) -> None:
    tracker = Tracker(runs)
    arm = tracker.arm(tracker.grid("grid", runs / "grid"), "ends", f"ends {status}", {})
    with pytest.raises(error) if error else nullcontext(), arm.closing():
        arm.log_step(step(1))
        arm.log_figures({"good": 1.5, "undefined": float("nan"), "endless": float("inf")})
        if error:
            raise error
    stored = client(runs).get_run(arm.id)
    assert stored.info.status == status
    assert stored.data.metrics["good"] == 1.5
    assert stored.data.metrics["train/loss"] == 1.0
    assert not {"undefined", "endless"} & set(stored.data.metrics)


def test_another_store_is_used_when_the_environment_names_one(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs / 'mlflow.db'}")
    Tracker(tmp_path / "elsewhere").grid("grid", tmp_path)
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()
