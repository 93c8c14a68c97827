"""Checkpoints of a training on disk: averaged weights at intervals, and their scores."""

import json
import shutil
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from fp_data.atomic import replacing_folder
from fp_data.damaged import naming_damage, parse_json, set_aside
from fp_lab.lab.files.atomic import read_json, write_text
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.model import FramePackModel
from fp_lab.weights.files import WEIGHTS_FILE, file_sha256

_FOLDER, _PREFIX = Path("train", "checkpoints"), "step"


@dataclass(frozen=True)
class Checkpoint(RunFolder):
    """``train/checkpoints/step<8 digits>`` of a run, laid out as a run is: model, samples, scores.

    Weights and samples may be removed (see `prune`); the record stays.
    """

    @property
    def model(self) -> Path:
        """Folder of the averaged model; removed by pruning."""
        return self.path / "model"

    @property
    def step(self) -> int:
        """Step after which it was saved, from 1."""
        return int(self.path.name.removeprefix(_PREFIX))

    @property
    def record(self) -> Path:
        """Record of the saved files; written last."""
        return self.path / "checkpoint.json"

    @property
    def has_weights(self) -> bool:
        """Whether the model still exists."""
        return self.model.is_dir()

    @property
    def train_key(self) -> str:
        """Key of the training that it belongs to."""
        return self._recorded("train_key")

    @property
    def sha256(self) -> str:
        """sha256 of the weights as they were saved."""
        return self._recorded("sha256")

    def _recorded(self, what: str) -> str:
        with naming_damage(self.record):
            return str(parse_json(self.record.read_bytes())[what])

    def check_weights(self) -> None:
        """Check that the weights are those that were saved.

        Raises:
            ValueError: the weights are missing or damaged.
        """
        path = self.model / WEIGHTS_FILE
        found = file_sha256(path) if path.is_file() else "nothing"
        if found != self.sha256:
            raise ValueError(
                f"{path}: got {found}, expected weights with sha256 {self.sha256}; the file is damaged, and "
                "this checkpoint is left out"
            )


Settle = Callable[[Checkpoint], None]
"""Function called with a checkpoint that was just saved, to score it or remove older ones."""


def checkpoints(run: RunFolder) -> tuple[Checkpoint, ...]:
    """List all complete checkpoints, by step."""
    folders = sorted((run.path / _FOLDER).glob(f"{_PREFIX}[0-9]*"))
    return tuple(place for place in map(Checkpoint, folders) if _is_recorded(place))


def _is_recorded(place: Checkpoint) -> bool:
    """Return whether a checkpoint is complete; a damaged record is set aside and counts as none."""
    try:
        return {"train_key", "sha256"} <= read_json(place.record).keys()
    except ValueError as error:
        warnings.warn(f"{error}; it is now {set_aside(place.record).name}", stacklevel=3)
        return False


def tracked_path(run: RunFolder) -> Path:
    """Path of the table of a run's checkpoint scores, see `fp_lab.lab.checkpoints.rows`."""
    return run.path / "tracked.parquet"


def save_checkpoint(model: FramePackModel, run: RunFolder, step: int, train_key: str) -> Checkpoint:
    """Save a model as the checkpoint of a step; an existing one has the same bits and stays.

    Args:
        model: model with averaged weights.
        run: run that it belongs to.
        step: number of the step, from 1.
        train_key: key of the training.
    """
    place = Checkpoint(run.path / _FOLDER / f"{_PREFIX}{step:08d}")
    if not (_is_recorded(place) and place.train_key == train_key):
        with replacing_folder(place.path) as unfinished:
            begun = Checkpoint(unfinished)
            model.save(begun.model)
            made = {"step": step, "train_key": train_key, "sha256": model.sha256}
            write_text(begun.record, json.dumps(made) + "\n")
    return place


def forget_other_trainings(run: RunFolder, train_key: str) -> None:
    """Remove the checkpoints of a training with another key, and the table of their scores."""
    for place in checkpoints(run):
        if place.train_key != train_key:
            shutil.rmtree(place.path)
            tracked_path(run).unlink(missing_ok=True)


def prune(run: RunFolder, keep: int | None, best: Collection[int]) -> None:
    """Remove weights and samples, not scores, of all but the newest `keep` checkpoints and the best ones.

    Args:
        run: run with the checkpoints.
        keep: number of newest checkpoints to keep; None: all.
        best: steps of the best checkpoints.
    """
    if keep is None:
        return
    for place in checkpoints(run)[:-keep]:
        if place.step not in best:
            for folder in (place.model, place.samples):
                if folder.exists():
                    shutil.rmtree(folder)
