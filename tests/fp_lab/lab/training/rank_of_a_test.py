"""One of several ranks, started by torch's launcher: trains runs, each stopped once in its third step.

Runs in a folder named ``whole`` are not stopped. It does what `fp_lab.lab.training.ranks` starts, but that
every rank leaves the sha256 of its model.
"""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from fp_lab.lab.config import load
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.training.fit import fit
from fp_lab.weights.files import tensors_sha256


class Stopped(Exception):
    pass


class Stopping(Reporter):
    def trained(self, step: Step) -> None:
        if step.step == 3:
            raise Stopped


def train(run: RunFolder, materials: Materials, rank: str) -> None:
    config = load(run.config)
    if run.path.parent.name != "whole":
        with suppress(Stopped):
            fit(run, config, "key", materials, Stopping(), None)
        if rank == "0":
            shutil.copy(run.checkpoint, run.path / "stopped.ckpt")
    model = fit(run, config, "key", materials, Reporter(), None)
    (run.path / f"model-of-rank-{rank}").write_text(tensors_sha256(model.state_dict()))


if __name__ == "__main__":
    cache, *runs = map(Path, sys.argv[1:])
    for run in runs:
        train(RunFolder(run), Materials(cache, Reporter()), os.environ["RANK"])
