"""Where a run's figures come from: machine, versions, source, weights, data, protocol."""

from collections.abc import Mapping
from typing import Any

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import Stage, digest
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.provenance.cache_identity import cache_identity
from fp_lab.lab.provenance.data_identity import data_identity
from fp_lab.lab.provenance.stage_keys import STAGE_VERSIONS, measured_by
from fp_lab.lab.runtime.environment import environment, git_state


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


def code_of(made_with: Mapping[str, Any]) -> str:
    """The code that a stage was done by, in words: a commit, and what was changed in it, or a version."""
    git = made_with.get("git")
    if git is None:
        return f"version {made_with['environment']['versions']['fp_lab']}"
    changed = f" with changes {git.get('diff', '')[:7]}".rstrip() if git["changed"] else ""
    return f"commit {git['commit'][:7]}{changed}"
