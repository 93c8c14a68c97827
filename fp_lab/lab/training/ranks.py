"""Training of one arm in several processes, started by torch's elastic launcher on one or more machines.

The process that runs the arm launches ``python -m fp_lab.lab.training.ranks RUN CACHE KEY`` once per device
and waits: the first rank reports as lines of JSON. Checkpoints are passed on here.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from fp_lab.lab.config import ExperimentConfig, TrainingConfig, load
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.reporter import TOLD, Reporter, Step, retell
from fp_lab.lab.training.checkpoints import Checkpoint, Settle, save_checkpoint
from fp_lab.lab.training.fit import Take, fit
from fp_lab.model import FramePackModel

_TAIL = 4000  # characters of a log that an error shows


class RanksFailed(RuntimeError):
    """A rank or the launcher has failed; the message ends with the first traceback."""


def train_in_ranks(
    folder: RunFolder,
    config: ExperimentConfig,
    key: str,
    materials: Materials,
    reporter: Reporter,
    settle: Settle | None,
) -> None:
    """Launch the ranks of a training and wait for them.

    Args:
        folder: folder of the run, with its config.
        config: settings of the run.
        key: key of the training.
        materials: codec and training videos, prepared here so that ranks do not make them all at once.
        reporter: receiver of the first rank's reports.
        settle: called with every checkpoint as it is saved.

    Raises:
        ValueError: several nodes without an allocation of them.
        RanksFailed: a rank has failed; the message holds its traceback.
    """
    materials.training(config)
    ranks = RankFolder(folder.path / "train" / "ranks")
    ranks.clear()
    command = launch_command(config.training, folder.path, materials.cache, key, os.environ)
    environment = os.environ | {"OMP_NUM_THREADS": str(config.training.threads)}
    with (
        ranks.log.open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            _listen(process.stdout, reporter, settle)
        except BaseException:
            process.terminate()  # the launcher ends its ranks
            raise
    if process.returncode:
        raise RanksFailed(ranks.explain(command))


def launch_command(
    training: TrainingConfig, run: Path, cache: Path, key: str, environment: Mapping[str, str]
) -> list[str]:
    """Command that starts every rank: torch's elastic launcher, on several nodes by srun.

    Raises:
        ValueError: several nodes outside of a SLURM job, or in a job with fewer nodes.
    """
    module = ["-m", "fp_lab.lab.training.ranks", str(run.resolve()), str(cache.resolve()), key]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(training.devices)]
    if training.nodes == 1:
        return [*launcher, "--standalone", *module]
    allocated = int(environment.get("SLURM_JOB_NUM_NODES", 0))
    if allocated < training.nodes:
        where = f"a SLURM job of {allocated} nodes" if allocated else "no SLURM job"
        raise ValueError(
            f"training.nodes: got {training.nodes} in {where}, expected a job that has them; ask for them "
            f"with sbatch --nodes={training.nodes}, or set training.nodes=1"
        )
    first = environment.get("SLURMD_NODENAME") or socket.gethostname()
    job = environment["SLURM_JOB_ID"]
    port = 20_000 + int(job) % 10_000  # jobs that share a node must not meet
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:{port}"]
    meeting += ["--rdzv-id", job, "--nnodes", str(training.nodes)]
    srun = ["srun", f"--nodes={training.nodes}", f"--ntasks={training.nodes}", "--ntasks-per-node=1"]
    return [*srun, *launcher, *meeting, *module]


class RankFolder:
    """Folder of the ranks' log and of a traceback for each failed rank."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def log(self) -> Path:
        """Output of launcher and ranks beside their reports."""
        return self.path / "output.log"

    def traceback(self, rank: int) -> Path:
        """Traceback of a failed rank."""
        return self.path / f"rank{rank}.txt"

    def clear(self) -> None:
        """Remove the files of an earlier launch."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)

    def explain(self, command: list[str]) -> str:
        """Explain the failure in one line, with the first traceback, else the end of the log."""
        written = sorted(self.path.glob("rank*.txt"), key=lambda path: path.stat().st_mtime_ns)
        if written:
            trace = written[0].read_text(encoding="utf-8")
            wrong = trace.rstrip().splitlines()[-1]
            return f"{written[0].stem} of the training failed: {wrong}\n{trace}"
        end = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        return f"`{' '.join(command)}` failed:\n{end}"


class _Telling(Reporter):
    """Sends reports of a training to the waiting process, and ends when that is gone."""

    def begin(self, stage: str, total: int) -> None:
        _tell("begin", stage, total)

    def advance(self, done: int, note: str = "") -> None:
        _tell("advance", done, note)

    def trained(self, step: Step) -> None:
        _tell("trained", asdict(step))

    def say(self, line: str) -> None:
        _tell("say", line)


def _tell(what: str, *values: Any) -> None:
    print(json.dumps([what, *values]), flush=True)


def _listen(lines: IO[bytes], reporter: Reporter, settle: Settle | None) -> None:
    for line in lines:
        try:
            what, *values = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue  # a library has printed something
        if what == "saved" and settle is not None:
            settle(Checkpoint(Path(values[0])))
        elif what in TOLD:
            retell(reporter, what, values)


def _saving(folder: RunFolder, key: str) -> Take:
    def take(model: FramePackModel, step: int) -> None:
        _tell("saved", str(save_checkpoint(model, folder, step, key).path))

    return take


def main(run: str, cache: str, key: str) -> None:
    """Run one rank: train, and write a traceback on failure."""
    import torch

    rank = int(os.environ["RANK"])
    folder = RunFolder(Path(run))
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        config = load(folder.config)
        reporter = _Telling() if rank == 0 else Reporter()
        take = _saving(folder, key) if config.track.every else None
        fit(folder, config, key, Materials(Path(cache), Reporter()), reporter, take)
    except Exception:
        write_text(RankFolder(folder.path / "train" / "ranks").traceback(rank), traceback.format_exc())
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
