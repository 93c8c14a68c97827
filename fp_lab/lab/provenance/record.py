"""Where a run's figures come from: machine, versions, source, weights, data, protocol."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fp_data.damaged import DamagedFile, taking_apart
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_folder import RunFolder, Stage, digest
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.provenance.cache_identity import cache_identity
from fp_lab.lab.provenance.data_identity import data_identity
from fp_lab.lab.provenance.stage_keys import STAGE_VERSIONS, measured_by
from fp_lab.lab.runtime.environment import environment, git_state

if TYPE_CHECKING:
    from fp_lab.lab.job import Job


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
