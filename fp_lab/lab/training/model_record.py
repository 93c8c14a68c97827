"""Record beside a trained base, codec or probe: the command, its settings, the model that it started from."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.provenance.base_origin import PROVENANCE_FILE, provenance_of
from fp_lab.lab.training.fit_with_curve import CURVE_FILE


def write_record(folder: Path, command: str, config: Any, made: Mapping[str, Any]) -> None:
    """Write the provenance of a model and of the one that it started from.

    Args:
        folder: folder of the model.
        command: command line of the user.
        config: dataclass with the settings of the training; `start` in it names what it began with.
        made: sha256 of the weights, and of what they were trained with.
    """
    begun = getattr(config, "start", None)
    start = {} if begun is None else {"start": provenance_of(Path(begun))}
    machine = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
    record = {"command": command, "config": asdict(config), **start, **made, **machine, "curve": CURVE_FILE}
    write_text(folder / PROVENANCE_FILE, json.dumps(record, indent=2) + "\n")
