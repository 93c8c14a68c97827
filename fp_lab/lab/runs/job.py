"""Jobs: arms of a grid as work to do, with pending stages and outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fp_lab.lab.config import ExperimentConfig, to_yaml
from fp_lab.lab.files.run_folder import STAGES, RunFolder, Stage
from fp_lab.lab.provenance.stage_keys import StageKeys
from fp_lab.lab.runs.identity import Identity

State = Literal["done", "failed", "busy", "halted"]


@dataclass(frozen=True)
class Job:
    """An arm to bring up to date.

    Attributes:
        label: label for messages.
        config: resolved settings of the arm.
        keys: keys of the stages.
        identity: identity of its folder.
        folder: folder of the run.
        truth: folder of the ground truth's scores.
        cache: folder of materials that arms share.
        stages: stages to bring up to date, the first ones of `fp_lab.lab.files.run_folder.STAGES`.
        trained: runs whose model is reused if it was trained in the same way.
    """

    label: str
    config: ExperimentConfig
    keys: StageKeys
    identity: Identity
    folder: Path
    truth: Path
    cache: Path
    stages: tuple[Stage, ...]
    trained: tuple[Path, ...] = ()

    @property
    def redone(self) -> int:
        """Number of explicit repetitions of its stages."""
        return self.identity.redone.get(self.folder.name, 0)

    @property
    def key(self) -> str:
        """Key of the last stage, which the run's results depend on."""
        return str(getattr(self.keys, self.stages[-1]))

    @property
    def pending(self) -> list[Stage]:
        """List the stages that are not done."""
        return pending_stages(RunFolder(self.folder), self.keys, self.stages)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do: stages, ground truth, and shared files of several stages."""
        place = RunFolder(self.folder)
        if "score" in self.stages and not RunFolder(self.truth).is_done("truth", self.keys.truth):
            return False
        written = place.config.read_bytes() if place.config.is_file() else b""
        return not self.pending and not place.lost() and written == to_yaml(self.config).encode()


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job.

    Attributes:
        state: ``done``; ``failed``: an error of this arm; ``busy``: another process works on this arm;
            ``halted``: the folder cannot be written to, so no other arm can be done either.
        stages: stages that had to be done.
        seconds: wall time, s.
        reason: reason in one line, unless it is done.
    """

    state: State
    stages: tuple[Stage, ...] = ()
    seconds: float = 0.0
    reason: str = ""


def pending_stages(place: RunFolder, keys: StageKeys, stages: Sequence[Stage] = STAGES) -> list[Stage]:
    """List the stages not done with these keys; a stage after one not done counts as not done."""
    for index, stage in enumerate(stages):
        if not place.is_done(stage, getattr(keys, stage)):
            return list(stages[index:])
    return []
