"""Folder of a run: its files, and which stages are done (standard library only)."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fp_data.damaged import naming_damage, set_aside
from fp_lab.lab.files.atomic import read_json, write_text
from fp_lab.lab.files.digests import Digest, file_digests

Stage = Literal["train", "sample", "score"]
STAGES: tuple[Stage, ...] = get_args(Stage)
TRUTH_FOLDER = "truth"
"""Subfolder of a grid with the scores of the ground truth."""

_OF_SEVERAL = {"efficiency.json", "provenance.json"}
"""Files that several stages write; each stage keeps a copy in its record."""
_LEAST: dict[str, dict[str, Any]] = {
    "train": {"train/model/model.safetensors": {}, "train/loss.parquet": {}},
    "sample": {"samples/own.safetensors": {}, "samples/true.safetensors": {}},
    "score": {"scores/summary.json": {}, "scores/videos.parquet": {}, "scores/frames.parquet": {}},
}
"""Least files of a stage whose record is old and names none."""


@dataclass(frozen=True)
class RunFolder:
    """One arm and seed on disk, ``runs/<grid>/<arm>/seed<k>``."""

    path: Path

    @property
    def config(self) -> Path:
        """Settings of the run, resolved."""
        return self.path / "config.yaml"

    @property
    def model(self) -> Path:
        """Folder of the trained model (averaged weights)."""
        return self.path / "train" / "model"

    @property
    def checkpoint(self) -> Path:
        """Checkpoint that an interrupted training resumes from."""
        return self.path / "train" / "last.ckpt"

    @property
    def loss(self) -> Path:
        """Table of the training steps."""
        return self.path / "train" / "loss.parquet"

    @property
    def codebook(self) -> Path:
        """Usage and error of the codebook of a discrete history."""
        return self.path / "train" / "codebook.json"

    @property
    def samples(self) -> Path:
        """Generated videos."""
        return self.path / "samples"

    @property
    def without_rollout(self) -> Path:
        """Measures without rollout, see `fp_lab.lab.files.without_rollout`."""
        return self.path / "without_rollout"

    @property
    def scores(self) -> Path:
        """Scores of the videos, see `fp_lab.lab.scoring.files.ScoresFolder`."""
        return self.path / "scores"

    @property
    def summary(self) -> Path:
        """Summary of the scores."""
        return self.scores / "summary.json"

    @property
    def efficiency(self) -> Path:
        """Times, rates and peak memory."""
        return self.path / "efficiency.json"

    @property
    def provenance(self) -> Path:
        """Provenance of each stage."""
        return self.path / "provenance.json"

    @property
    def error(self) -> Path:
        """Traceback of a failure; removed after a success."""
        return self.path / "error.txt"

    @property
    def lock(self) -> Path:
        """Lock file, held by the process that works on the run."""
        return self.path / ".lock"

    @property
    def _failure(self) -> Path:
        return self.path / "failed.json"

    def failure(self, key: str) -> str | None:
        """Return why the run failed with this key, in one line; None where it did not."""
        found = _as_written(self._failure)
        return str(found.get("reason", "")) if found.get("key") == key else None

    def record_failure(self, key: str, reason: str, trace: str) -> None:
        """Record a failure: a run that would fail again is retried only on request."""
        write_text(self.error, trace)
        write_text(self._failure, json.dumps({"key": key, "reason": reason}) + "\n")

    def forget_failure(self) -> None:
        """Remove the record of a failure: the run has succeeded, or is to be retried."""
        self.error.unlink(missing_ok=True)
        self._failure.unlink(missing_ok=True)

    def done_file(self, stage: str) -> Path:
        """Record of a complete stage, written last: its key and all of its files."""
        return self.path / f"{stage}.done.json"

    def record_of(self, stage: str) -> dict[str, Any]:
        """Read `done_file`: ``key``, ``seconds``, ``outputs`` and more; empty where there is none.

        Raises:
            ValueError: it is damaged.
        """
        path = self.done_file(stage)
        record = read_json(path)
        with naming_damage(path):
            outputs = {name: dict(told) for name, told in record.get("outputs", {}).items()}
            figures = {name: dict(record[name]) for name in _OF_SEVERAL & record.keys()}
            seconds = {"seconds": float(record["seconds"])} if "seconds" in record else {}
        return record | ({"outputs": outputs} if "outputs" in record else {}) | figures | seconds

    def is_done(self, stage: str, key: str) -> bool:
        """Return whether a stage was completed with this key and all of its files are intact."""
        return self._whole_record(stage).get("key") == key and not self.damage(stage)

    def damage(self, stage: str) -> dict[Path, str]:
        """Find damaged files of a completed stage: file -> fault, such as "is missing".

        A file with its recorded size and time counts as intact; one of another time, as in a copied folder,
        is read.
        """
        try:
            record = self.record_of(stage)
        except ValueError as error:
            return {self.done_file(stage): str(error).removeprefix(f"{self.done_file(stage)}: ")}
        if not record:
            return {}
        outputs = record.get("outputs", _LEAST.get(stage, {}))
        with file_digests() as digest:
            found = {
                self.path / name: _fault(self.path / name, told, digest) for name, told in outputs.items()
            }
        return {file: fault for file, fault in found.items() if fault}

    def set_aside(self, stage: str) -> list[str]:
        """Move damaged files of a stage into the run's folder; return a line per damaged or lost file."""
        lines = []
        for file, fault in self.damage(stage).items():
            kept = f"; it is now {set_aside(file, self.path).name}" if file.exists() else ""
            lines.append(f"{file}: {fault}{kept}. Done again: {stage}")
        return lines

    def clear(self, stage: str) -> None:
        """Remove the results of a stage, so that old ones are not taken for new ones.

        A model stays until a new one replaces it, and a checkpoint until training has read it.
        """
        self.done_file(stage).unlink(missing_ok=True)
        for old in () if stage in ("train", "report") else self._places(stage):
            if old.exists():
                shutil.rmtree(old)

    @contextmanager
    def doing(self, stage: str, key: str) -> Iterator[None]:
        """Mark a stage as done when the body succeeds."""
        started = time.monotonic()
        yield
        files = [file for place in self._places(stage) for file in _files(place)]
        with file_digests() as digest:
            outputs = {file.relative_to(self.path).as_posix(): _written(file, digest) for file in files}
        record = {"key": key, "seconds": round(time.monotonic() - started, 3), "outputs": outputs}
        record |= {file.name: _as_written(file) for file in (self.efficiency, self.provenance)}
        _write_json(self.done_file(stage), record)

    def _whole_record(self, stage: str) -> dict[str, Any]:
        """Record of a stage as `record_of` reads it; empty for a damaged one."""
        with suppress(ValueError):
            return self.record_of(stage)
        return {}

    def _places(self, stage: str) -> tuple[Path, ...]:
        """Files and folders that only this stage writes."""
        return {
            "train": (self.model, self.loss, self.codebook),
            "sample": (self.samples,),
            "without_rollout": (self.without_rollout,),
            "score": (self.scores,),
            "truth": (self.samples, self.scores),
            "report": (self.path / "report",),
        }[stage]

    def record_provenance(self, stage: str, made_with: Mapping[str, Any]) -> None:
        """Record the provenance of a stage."""
        _write_json(self.provenance, _kept(self.provenance) | {stage: dict(made_with)})

    def record_efficiency(self, figures: Mapping[str, float]) -> None:
        """Add metrics to those of earlier stages."""
        known = _kept(self.efficiency)
        peak = "peak_memory_mib"
        merged = known | dict(figures)
        if peak in known and peak in figures:
            merged[peak] = max(known[peak], figures[peak])
        _write_json(self.efficiency, merged)

    def lost(self) -> dict[Path, dict[str, Any]]:
        """Shared files of several stages that have lost entries: file -> complete content."""
        records = [self._whole_record(stage) for stage in STAGES]
        lost = {}
        for file in (self.efficiency, self.provenance):
            wanted: dict[str, Any] = {}
            for record in records:
                wanted |= record.get(file.name, {})
            found = _as_written(file)
            if not wanted.keys() <= found.keys():
                lost[file] = wanted | found
        return lost

    def restore(self) -> list[str]:
        """Rewrite the `lost` files from the records of the stages; return a line per file."""
        lines = []
        for file, content in self.lost().items():
            _kept(file)
            _write_json(file, content)
            lines.append(f"{file}: was lost or damaged; written again from the records of its stages")
        return lines


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if file.is_file())
    return [place] if place.is_file() else []


def _written(file: Path, digest: Digest) -> dict[str, Any]:
    found = file.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": digest(file)}


def _fault(file: Path, written: Mapping[str, Any], digest: Digest) -> str:
    """Fault of a file against its record; empty if there is none."""
    if not file.is_file():
        return "is missing"
    found = file.stat()
    if found.st_size != written.get("size", found.st_size or 1):
        return f"is damaged: {found.st_size} bytes, {written.get('size', 'more')} were written"
    if written and found.st_mtime_ns != written["mtime_ns"] and digest(file) != written["sha256"]:
        return "is damaged: its content is not what was written"
    return ""


def _kept(path: Path) -> dict[str, Any]:
    """Read a record; empty where there is none, or where it is damaged and set aside."""
    try:
        return read_json(path)
    except ValueError:
        set_aside(path)
        return {}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def _as_written(path: Path) -> dict[str, Any]:
    """Read a record; empty where there is none that can be read."""
    with suppress(ValueError):
        return read_json(path)
    return {}


def digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of plain containers, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
