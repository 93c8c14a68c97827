"""A run's folder: what is where, and which stages are done (standard library only)."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fp_lab.lab.atomic import read_json, write_text

Stage = Literal["train", "sample", "score"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class RunFolder:
    """One arm and seed on disk, ``runs/<grid>/<arm>/seed<k>``."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved experiment."""
        return self.path / "config.yaml"

    @property
    def model(self) -> Path:
        """Folder of the trained model (averaged weights)."""
        return self.path / "train" / "model"

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted training continues."""
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
    def summary(self) -> Path:
        """Figures of the arm."""
        return self.path / "scores" / "summary.json"

    @property
    def efficiency(self) -> Path:
        """Times, rates and peak memory."""
        return self.path / "efficiency.json"

    @property
    def provenance(self) -> Path:
        """What each stage was made with."""
        return self.path / "provenance.json"

    @property
    def error(self) -> Path:
        """Traceback of a failure; gone after a success."""
        return self.path / "error.txt"

    @property
    def lock(self) -> Path:
        """Held by whoever works on the run."""
        return self.path / ".lock"

    @property
    def _failure(self) -> Path:
        return self.path / "failed.json"

    def failure(self, key: str) -> str | None:
        """Why the run failed with this key, in one line; None where it did not."""
        found = read_json(self._failure)
        return str(found["reason"]) if found.get("key") == key else None

    def record_failure(self, key: str, reason: str, trace: str) -> None:
        """Keep a failure: a run that would fail again is not tried again unasked."""
        write_text(self.error, trace)
        write_text(self._failure, json.dumps({"key": key, "reason": reason}) + "\n")

    def forget_failure(self) -> None:
        """The run has succeeded, or is to be tried again."""
        self.error.unlink(missing_ok=True)
        self._failure.unlink(missing_ok=True)

    def done_file(self, stage: str) -> Path:
        """Written last, when a stage is complete."""
        return self.path / f"{stage}.done.json"

    def is_done(self, stage: str, key: str) -> bool:
        """Whether a stage was completed with this key."""
        return read_json(self.done_file(stage)).get("key") == key

    def clear(self, stage: Stage) -> None:
        """Take away what a stage has left, so that nobody takes old figures for new ones.

        A model stays until a new one replaces it, and a checkpoint until training has looked at it.
        """
        self.done_file(stage).unlink(missing_ok=True)
        for old in {"train": (), "sample": (self.samples,), "score": (self.summary.parent,)}[stage]:
            if old.exists():
                shutil.rmtree(old)

    @contextmanager
    def doing(self, stage: str, key: str) -> Iterator[None]:
        """Marks a stage as done when its body succeeds."""
        started = time.monotonic()
        yield
        record = {"key": key, "seconds": round(time.monotonic() - started, 3)}
        write_text(self.done_file(stage), json.dumps(record) + "\n")

    def record_provenance(self, stage: str, made_with: Mapping[str, Any]) -> None:
        """Keep what a stage was made with."""
        known = read_json(self.provenance)
        write_text(self.provenance, json.dumps(known | {stage: dict(made_with)}, indent=2) + "\n")

    def record_efficiency(self, figures: Mapping[str, float]) -> None:
        """Add figures to those that earlier stages have left."""
        known = read_json(self.efficiency)
        peak = "peak_memory_mib"
        merged = known | dict(figures)
        if peak in known and peak in figures:
            merged[peak] = max(known[peak], figures[peak])
        write_text(self.efficiency, json.dumps(merged, indent=2) + "\n")


def digest(content: Mapping[str, Any]) -> str:
    """sha256 of plain containers, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
