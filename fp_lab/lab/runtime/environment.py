"""Environment of a run: machine, versions of dependencies, commit of the source."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import fp_lab

_PACKAGES = (
    *("fp_lab", "torch", "torchvision", "lightning", "diffusers", "transformers", "torchmetrics", "numpy"),
    *("scipy", "av", "opencv-python-headless", "scikit-image", "mlflow"),
)


@cache
def environment() -> dict[str, Any]:
    """Describe the machine and the versions of packages that results depend on."""
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
    """Commit of the source checkout, changed files and a hash of them; None for an installed wheel."""
    root = Path(fp_lab.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        diff = hashlib.sha256(_git(root, "diff", "--no-ext-diff", "HEAD").encode()).hexdigest()
        changed = [
            line[3:] for line in _git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "changed": changed, "diff": diff}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, check=True, timeout=10)
    return done.stdout.decode(errors="replace")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Name of the CPU; `platform` knows only its architecture on Linux."""
    known = Path("/proc/cpuinfo")
    for line in known.read_text().splitlines() if known.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
