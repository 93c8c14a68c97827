"""Provenance record of a stage: machine, versions, source, weights, data, protocol."""

from collections.abc import Mapping
from typing import Any

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import Stage, digest
from fp_lab.lab.provenance.data_identity import data_identity
from fp_lab.lab.provenance.inputs import Inputs
from fp_lab.lab.provenance.stage_keys import STAGE_VERSIONS, measured_by
from fp_lab.lab.runtime.environment import environment, git_state


def provenance(config: ExperimentConfig, stage: Stage, inputs: Inputs) -> dict[str, Any]:
    """Return the provenance of a stage's result, as plain data.

    Args:
        config: settings of the run.
        stage: name of the stage: train, sample or score.
        inputs: inputs that the stage has read.
    """
    weights = {"codec": inputs.codec} | ({} if inputs.base is None else {"base": inputs.base})
    return {
        "environment": environment(),
        "git": git_state(),
        "version": STAGE_VERSIONS[stage],
        "weights": weights,
        "data": digest(data_identity(config.data, inputs.clips)),
        **({} if inputs.cache is None else {"cache": inputs.cache}),
        **({"plugins": dict(inputs.plugins)} if inputs.plugins else {}),
        "threads": config.training.threads,
        **({"protocol": digest(measured_by(config))} if stage == "score" else {}),
    }


def code_of(made_with: Mapping[str, Any]) -> str:
    """Describe the code that ran a stage: a commit and its local changes, or a version."""
    git = made_with.get("git")
    if git is None:
        return f"version {made_with['environment']['versions']['fp_lab']}"
    changed = f" with changes {git.get('diff', '')[:7]}".rstrip() if git["changed"] else ""
    return f"commit {git['commit'][:7]}{changed}"
