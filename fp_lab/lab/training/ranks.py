"""Train one arm in several processes: torch's elastic launcher starts them, on one machine or on several.

The process that runs the arm launches ``python -m fp_lab.lab.training.ranks RUN CACHE KEY`` once per device
and waits: what the ranks report comes as lines of JSON from the first one. Checkpoints are handed on here.
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
    """A rank, or the launcher, has failed; the message ends with the traceback of the first one."""


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
        folder: of the run; holds its config.
        config: the same.
        key: what the training depends on.
        materials: made here what ranks would otherwise make at the same time.
        reporter: hears what the first rank reports.
        settle: gets every checkpoint as it is saved.

    Raises:
        ValueError: several nodes outside of an allocation of them.
        RanksFailed: with the rank's traceback.
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
    """The command that starts every rank: torch's elastic launcher, on several nodes by way of srun.

    Raises:
        ValueError: several nodes outside of a SLURM job, or in a job that has fewer.
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
    """What ranks leave when something goes wrong: a log of what they print, a traceback each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def log(self) -> Path:
        """What launcher and ranks have printed beside their reports."""
        return self.path / "output.log"

    def traceback(self, rank: int) -> Path:
        """Why a rank failed."""
        return self.path / f"rank{rank}.txt"

    def clear(self) -> None:
        """Forget an earlier launch."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)

    def explain(self, command: list[str]) -> str:
        """What went wrong in one line, and the traceback that was written first, else the end of the log."""
        written = sorted(self.path.glob("rank*.txt"), key=lambda path: path.stat().st_mtime_ns)
        if written:
            trace = written[0].read_text(encoding="utf-8")
            wrong = trace.rstrip().splitlines()[-1]
            return f"{written[0].stem} of the training failed: {wrong}\n{trace}"
        end = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        return f"`{' '.join(command)}` failed:\n{end}"


class _Telling(Reporter):
    """Sends what a training reports to the process that waits; when that is gone, so is this one."""

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
    """One rank: train, and leave a traceback if that fails."""
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
