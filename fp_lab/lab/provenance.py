"""Where a run's figures come from: machine, versions, source, weights, data, protocol."""

import hashlib
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import fp_lab
from fp_data.damaged import DamagedFile, taking_apart
from fp_lab.lab.atomic import read_json
from fp_lab.lab.cache_identity import cache_identity
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.data_identity import data_identity
from fp_lab.lab.keys import STAGE_VERSIONS, measured_by
from fp_lab.lab.stages import RunFolder, Stage, digest
from fp_lab.lab.weights import weights_sha256

if TYPE_CHECKING:
    from fp_lab.lab.job import Job

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


def made_elsewhere(jobs: "Sequence[Job]") -> Iterator[str]:
    """A line if stages that are done were done by other code than today's: keys do not know of code."""
    now = code_of({"git": git_state(), "environment": environment()})
    made = Counter[str]()
    for job in jobs:
        done = [stage for stage in job.stages if stage not in job.pending]
        path = RunFolder(job.folder).provenance
        with suppress(DamagedFile), taking_apart(path):  # a run that is worked on writes it again
            known = read_json(path)
            others = {code_of(known[stage]) for stage in done if stage in known} - {now}
            made.update([", ".join(sorted(others))] if others else [])
    if made:
        counted = "; ".join(f"{count} of {len(jobs)} arms at {code}" for code, count in made.items())
        yield f"Made by other code than today's ({now}): {counted}. --redo does all stages again."


def code_of(made_with: Mapping[str, Any]) -> str:
    """The code that a stage was done by, in words: a commit, and what was changed in it, or a version."""
    git = made_with.get("git")
    if git is None:
        return f"version {made_with['environment']['versions']['fp_lab']}"
    changed = f" with changes {git.get('diff', '')[:7]}".rstrip() if git["changed"] else ""
    return f"commit {git['commit'][:7]}{changed}"


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
    """Commit of the source checkout, files with changes and a hash of these; None for an installed wheel."""
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
    """The CPU's name; `platform` knows only its architecture on Linux."""
    known = Path("/proc/cpuinfo")
    for line in known.read_text().splitlines() if known.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
