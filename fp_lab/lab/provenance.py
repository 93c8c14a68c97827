"""Where a run's figures come from: machine, versions, source, weights, data, protocol."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import fp_lab
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.data_identity import data_identity
from fp_lab.lab.keys import STAGE_VERSIONS, measured_by
from fp_lab.lab.stages import Stage, digest
from fp_lab.lab.training_cache import cache_identity
from fp_lab.lab.weights import weights_sha256

_PACKAGES = (
    *("fp_lab", "torch", "torchvision", "lightning", "diffusers", "transformers", "torchmetrics", "numpy"),
    *("scipy", "av", "opencv-python-headless", "scikit-image", "mlflow"),
)


def provenance(config: ExperimentConfig, stage: Stage) -> dict[str, Any]:
    """What the result of a stage was made with, as plain data.

    Args:
        config: of the run.
        stage: train, sample or score.
    """
    base = config.model.base
    weights = {"codec": weights_sha256("codec", config.codec.source)}
    weights |= {} if base is None else {"base": weights_sha256("base", base)}
    return {
        "environment": environment(),
        "git": git_state(),
        "version": STAGE_VERSIONS[stage],
        "weights": weights,
        "data": digest(data_identity(config.data)),
        **({} if config.data.cache is None else {"cache": cache_identity(config)}),
        "threads": config.training.threads,
        **({"protocol": digest(measured_by(config))} if stage == "score" else {}),
    }


@cache
def environment() -> dict[str, Any]:
    """The machine and the versions of what figures depend on."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": gpus,
        "versions": {name: _version(name) for name in _PACKAGES},
    }


@cache
def git_state() -> dict[str, Any] | None:
    """Commit of the source checkout and whether it has changes; None for an installed wheel."""
    root = Path(fp_lab.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        changed = [
            line[3:] for line in _git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "changed": changed}


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The CPU's name; `platform` knows only its architecture on Linux."""
    known = Path("/proc/cpuinfo")
    for line in known.read_text().splitlines() if known.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
