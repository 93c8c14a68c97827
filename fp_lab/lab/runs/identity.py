"""Identity of an arm's folder: what its results depend on, and which settings it belongs to.

``<arm>/arm.json`` stores it for the results in ``<arm>/seed<k>``, independent of the training seed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fp_data.damaged import DamagedFile, naming_damage
from fp_lab.lab.config import ExperimentConfig, flatten, load, plain_settings
from fp_lab.lab.files.atomic import read_json, write_text
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import STAGES, RunFolder
from fp_lab.lab.provenance.inputs import Inputs
from fp_lab.lab.provenance.stage_keys import StageKeys, stage_keys

ARM_FILE = "arm.json"
_NOT_IN_KEYS = (
    *("training.checkpoint_every", "training.workers", "training.compute_of"),
    "evaluation.without_rollout",
    *("seed", "label", "protocol"),
)


class FolderTaken(ValueError):
    """An arm's folder belongs to other settings now."""


@dataclass(frozen=True)
class Identity:
    """Dependencies of the results in an arm's folder.

    Attributes:
        score: key of the last stage for training seed 0, which covers those of all stages; empty if unknown.
        train: key of the first stage for training seed 0.
        settings: settings by dotted name, for messages.
        made_of: hashes of dependencies beside settings, by `MADE_OF`; empty if unknown.
        redone: folder name of a seed -> number of explicit repetitions of its stages.
    """

    score: str = ""
    train: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    made_of: Mapping[str, str] = field(default_factory=dict)
    redone: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, config: ExperimentConfig, keys: StageKeys | None = None, inputs: Inputs | None = None
    ) -> "Identity":
        """Compute the identity of a config, without its training seed.

        Args:
            config: settings of an arm.
            keys: keys of the config, if known; used only for seed 0.
            inputs: inputs of the arm, if known.

        Raises:
            ValueError: the codec or the base is missing.
        """
        if keys is None or config.seed:
            keys = stage_keys(replace(config, seed=0), inputs)
        settings = json.loads(json.dumps(flatten(plain_settings(config)), default=str))
        return cls(keys.score, keys.train, settings, keys.made_of)

    def redo(self, seeds: Sequence[str]) -> "Identity":
        """Return the identity after one more repetition of the stages of some seeds."""
        again = {seed: self.redone.get(seed, 0) + 1 for seed in seeds}
        return replace(self, redone={**self.redone, **again})

    def same_results(self, other: "Identity") -> bool:
        """Return whether both have the same results."""
        return bool(self.score) and self.score == other.score

    def changed_dependencies(self, other: "Identity") -> list[str]:
        """List the dependencies of `MADE_OF` that differ; empty if unknown."""
        return [name for name, ours in other.made_of.items() if self.made_of.get(name, ours) != ours]

    def differences(self, other: "Identity") -> dict[str, tuple[Any, Any]]:
        """Return the differing settings that results depend on: name -> this value and the other.

        A setting that only one of them knows is newer than the other's results, which have its default.
        """
        unused = "data.clips." if other.settings.get("data.kind") == "world" else "data.world."
        mine, theirs = self.settings, other.settings
        both = {name: (mine[name], value) for name, value in theirs.items() if name in mine}
        return {
            name: values
            for name, values in both.items()
            if values[0] != values[1] and name not in _NOT_IN_KEYS and not name.startswith(("track.", unused))
        }


def assigning_folders(grid: Path) -> AbstractContextManager[None]:
    """Hold the lock of a grid while its folders are assigned to arms."""
    return only_one(grid / ".arms.lock")


def require_own_folder(place: Path, identity: Identity) -> None:
    """Check that an arm's folder still belongs to it, before anything is written there.

    Raises:
        FolderTaken: another command has assigned the folder to other settings.
    """
    with assigning_folders(place.parent):
        found = identity_in(place)
        if found is not None and not found.same_results(identity):
            raise FolderTaken(
                f"{place} has been given to an arm with other settings meanwhile; the same command finds "
                "another folder"
            )
        if found is None:
            write_identity(place, identity)


def write_identity(place: Path, identity: Identity) -> None:
    """Assign an arm's folder to an identity."""
    write_text(place / ARM_FILE, json.dumps(asdict(identity), indent=2) + "\n")


def identity_in(place: Path) -> Identity | None:
    """Return the identity of an arm's folder; None if it is free.

    Results without `ARM_FILE` are recognised by their configs and the records of their stages.
    """
    path = place / ARM_FILE
    with suppress(DamagedFile), naming_damage(path):
        if record := read_json(path):
            redone = {seed: int(times) for seed, times in record.get("redone", {}).items()}
            return Identity(**record | {"redone": redone, "settings": dict(record.get("settings", {}))})
    runs = list(results_in(place))
    identities = [_recognised(run) for run in runs]
    if any(identity != identities[0] for identity in identities):
        return Identity()
    return identities[0] if identities else None


def results_in(place: Path) -> Iterator[RunFolder]:
    """List runs of an arm with results, or with a checkpoint after at least one step."""
    for run in map(RunFolder, sorted(place.glob("seed*"))):
        marks = (run.done_file(stage) for stage in STAGES)
        left = (
            run.checkpoint,
            run.path / "train" / "checkpoints",
            run.model,
            run.samples,
            run.scores,
        )
        if any(path.exists() for path in (*marks, *left)):
            yield run


def _recognised(run: RunFolder) -> Identity:
    """Identity of a run without `ARM_FILE`, if the records of its stages agree with its config."""
    try:
        config = load(run.config)
        keys = stage_keys(config)
        identity = Identity.of(config, keys)
        records = {stage: run.record_of(stage) for stage in STAGES}
    except (ValueError, OSError):
        return Identity()
    done = {stage: record["key"] for stage, record in records.items() if record}
    if not done or any(key != getattr(keys, stage) for stage, key in done.items()):
        return Identity(settings=identity.settings)
    return identity
