"""Results made by other code than the current one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from fp_data.damaged import DamagedFile, naming_damage
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.provenance.record import code_of
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runtime.environment import environment, git_state


def made_by_other_code(jobs: Sequence[Job]) -> Iterator[str]:
    """Return a line if stages were done by other code than the current one, which keys do not cover."""
    now = code_of({"git": git_state(), "environment": environment()})
    made = Counter[str]()
    for job in jobs:
        done = [stage for stage in job.stages if stage not in job.pending]
        path = RunFolder(job.folder).provenance
        with suppress(DamagedFile), naming_damage(path):  # a run that is worked on writes it again
            known = read_json(path)
            others = {code_of(known[stage]) for stage in done if stage in known} - {now}
            made.update([", ".join(sorted(others))] if others else [])
    if made:
        counted = "; ".join(f"{count} of {len(jobs)} arms at {code}" for code, count in made.items())
        yield f"Made by other code than today's ({now}): {counted}. --redo does all stages again."
