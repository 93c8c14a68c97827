"""An arm of a grid as work to be done: what has to be known, what is left to do, how it ended."""

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
        label: for people.
        config: resolved.
        keys: what its stages depend on.
        identity: what its folder belongs to.
        folder: of the run.
        truth: folder of the ground truth's scores.
        cache: what arms have in common on disk.
        stages: a beginning of `fp_lab.lab.files.run_folder.STAGES`.
        trained: runs whose trained model is taken over if it was trained in the same way.
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
        """How often its stages were asked for anew."""
        return self.identity.redone.get(self.folder.name, 0)

    @property
    def key(self) -> str:
        """Of the last stage: what the run's figures depend on."""
        return str(getattr(self.keys, self.stages[-1]))

    @property
    def pending(self) -> list[Stage]:
        """The stages that are not done."""
        return pending_stages(RunFolder(self.folder), self.keys, self.stages)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do: stages, ground truth, and what several stages write together."""
        place = RunFolder(self.folder)
        if "score" in self.stages and not RunFolder(self.truth).is_done("truth", self.keys.truth):
            return False
        written = place.config.read_bytes() if place.config.is_file() else b""
        return not self.pending and not place.lost() and written == to_yaml(self.config).encode()


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        state: ``done``; ``failed`` by itself; ``busy``: another process is at this arm; ``halted``: the
            folder cannot be written to, so no other arm can be done either.
        stages: that had to be done.
        seconds: wall time.
        reason: one line, unless it is done.
    """

    state: State
    stages: tuple[Stage, ...] = ()
    seconds: float = 0.0
    reason: str = ""


def pending_stages(place: RunFolder, keys: StageKeys, stages: Sequence[Stage] = STAGES) -> list[Stage]:
    """The stages that are not done with these keys; a stage after one that is not done is not done either."""
    for index, stage in enumerate(stages):
        if not place.is_done(stage, getattr(keys, stage)):
            return list(stages[index:])
    return []
