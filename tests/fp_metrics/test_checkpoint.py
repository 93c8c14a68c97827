"""Published files are read without unpickling and put into a network whole or not at all."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def saved(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def test_a_state_is_filled_in_and_ready_for_inference(tmp_path: Path) -> None:
    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([7.0, 8.0])}
    path = saved(tmp_path / "w.pth", {f"module.{name}": value for name, value in state.items()})
    network = fill(nn.Linear(3, 2), read_state(path), path)
    assert torch.equal(network(torch.ones(1, 3)), torch.tensor([[3.0 + 7, 12.0 + 8]]))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_file_that_runs_code_is_refused_before_it_runs(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = saved(tmp_path / "w.pth", {"weight": torch.zeros(1), "x": Malicious(target)})
    with pytest.raises(ValueError, match=r"w\.pth .*\btensors alone\b"):
        read_state(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))  # it would have
    assert target.exists()


@pytest.mark.parametrize("state", [[torch.zeros(1)], {"weight": 3}, torch.zeros(2)])
def test_anything_but_tensors_by_name_is_refused(tmp_path: Path, state: object) -> None:
    with pytest.raises(ValueError, match=rf"w\.pth .*\b{type(state).__name__}, expected tensors\b"):
        read_state(saved(tmp_path / "w.pth", state))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"w\.pth .*\btensors alone\b"):
        read_state(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": None}, r"w\.pth .*\bLinear; missing: bias"),
        ({"more": torch.zeros(1)}, "Linear; unknown: more"),
        ({"weight": torch.zeros(3, 2)}, r"shape: weight \(3, 2\) .*\(2, 3\)"),
        ({str(i): torch.zeros(1) for i in range(6)}, "unknown: 0, 1, 2, 3 and 2 more"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_changes(
    changes: dict[str, Tensor | None], message: str
) -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(2)} | changes
    with pytest.raises(ValueError, match=message):
        fill(network, {name: value for name, value in state.items() if value is not None}, Path("w.pth"))
    assert torch.equal(network.weight, before)
