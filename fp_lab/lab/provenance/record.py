"""Where a run's figures come from: machine, versions, source, weights, data, protocol."""

from collections.abc import Mapping
from typing import Any

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import Stage, digest
from fp_lab.lab.provenance.data_identity import data_identity
from fp_lab.lab.provenance.inputs import Inputs
from fp_lab.lab.provenance.stage_keys import STAGE_VERSIONS, measured_by
from fp_lab.lab.runtime.environment import environment, git_state


def provenance(config: ExperimentConfig, stage: Stage, inputs: Inputs) -> dict[str, Any]:
    """What the result of a stage was made with, as plain data.

    Args:
        config: of the run.
        stage: train, sample or score.
        inputs: what it has read.
    """
    weights = {"codec": inputs.codec} | ({} if inputs.base is None else {"base": inputs.base})
    return {
        "environment": environment(),
        "git": git_state(),
        "version": STAGE_VERSIONS[stage],
        "weights": weights,
        "data": digest(data_identity(config.data, inputs.clips)),
        **({} if inputs.cache is None else {"cache": inputs.cache}),
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
