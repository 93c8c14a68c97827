"""Reuse of a trained model from another run that was trained in the same way."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fp_lab.lab.files.run_folder import RunFolder

_LEFT_OUT = ("last.ckpt", "ranks", "samples", "scores", "error.txt", ".lock", "*.done.json")


def reuse_training(run: RunFolder, key: str, others: Sequence[Path]) -> str | None:
    """Link (or copy) the results of a training with the same key, and its checkpoints without scores.

    Args:
        run: run that needs the model; its training stage becomes done.
        key: key of the training stage.
        others: runs that may have the model.

    Returns:
        Line that names the source; None if no run has it.
    """
    for other in map(RunFolder, others):
        if not other.is_done("train", key):
            continue
        with run.doing("train", key):
            ignore = shutil.ignore_patterns(*_LEFT_OUT)
            source, target = other.model.parent, run.model.parent
            shutil.copytree(source, target, copy_function=_link, ignore=ignore, dirs_exist_ok=True)
            record = other.record_of("train")  # with the costs of the training alone
            run.record_efficiency(record.get(other.efficiency.name, {}))
            origin = os.path.relpath(other.path, run.path)
            made_with = record.get(other.provenance.name, {}).get("train", {})
            run.record_provenance("train", made_with | {"taken_over_from": origin})
            run.checkpoint.unlink(missing_ok=True)
        return f"{run.path}: the trained model is that of {other.path}, whose training is the same"
    return None


def _link(source: str, target: str) -> None:
    """Hard-link a file where possible, else copy; safe since files of runs are replaced, never changed."""
    Path(target).unlink(missing_ok=True)
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
