"""Tracking during training: checkpoints are saved and scored, old ones pruned."""

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fp_lab.lab.checkpoints.best import Goal, best_checkpoint, check_measured
from fp_lab.lab.checkpoints.rows import tracked_videos, write_tracked
from fp_lab.lab.checkpoints.score import Scorer
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.peak_memory import peak_memory, reset_peak_memory
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.checkpoints import Checkpoint, checkpoints, prune
from fp_lab.lab.training.train import train


def train_tracked(
    run: RunFolder, config: ExperimentConfig, key: str, materials: Materials, reporter: Reporter
) -> None:
    """Train an arm, and score and prune its checkpoints on the way, by `config.track`.

    Args:
        run: folder of the run.
        config: settings of the run.
        key: key of the training stage.
        materials: codec, training videos and evaluation set.
        reporter: receiver of every step.

    Raises:
        ValueError: the settings cannot be followed.
        RanksFailed: one of several processes that train together has failed.
    """
    tracked = TrackedTraining(run, config, materials, reporter) if config.track.every else None
    train(run, config, key, materials, reporter, tracked.settle if tracked else None)
    if tracked is not None and config.training.ranks == 1:
        run.record_efficiency(tracked.peak_memory)


class TrackedTraining:
    """Scores and prunes the checkpoints of one training.

    Args:
        run: folder of the run.
        config: settings of the run.
        materials: codec and evaluation set.
        reporter: receiver of progress.

    Raises:
        ValueError: the score that decides the best checkpoint is not measured.

    Attributes:
        peak_memory: peak memory of the training between checkpoints, as scoring resets the count; empty
            before the first, and on a CPU.
    """

    def __init__(
        self,
        run: RunFolder,
        config: ExperimentConfig,
        materials: Materials,
        reporter: Reporter,
    ) -> None:
        self.run, self.config, self.reporter = run, config, reporter
        if config.track.score and config.track.keep is not None:
            check_measured(Goal.parse(config.track.best), config)
        self.scorer = Scorer(run, config, materials, reporter) if config.track.score else None
        self.peak_memory: dict[str, float] = {}

    def settle(self, checkpoint: Checkpoint) -> None:
        """Score a saved checkpoint and prune old ones.

        A failure of scoring is recorded and reported, not raised: it is no fault of the training.
        """
        now = peak_memory()
        self.peak_memory = {name: max(peak, self.peak_memory.get(name, 0.0)) for name, peak in now.items()}
        best: tuple[int, ...] = ()
        if self.scorer is not None:
            try:
                with undisturbed():
                    best = self._scored(self.scorer, checkpoint)
            except Exception as error:
                write_text(checkpoint.error, "".join(traceback.format_exception(error)))
                self.reporter.say(
                    f"{checkpoint.path}: not scored, {type(error).__name__}: {error}; the training goes on, "
                    f"`fp-lab track {self.run.path}` tries again"
                )
                best = tuple(place.step for place in checkpoints(self.run))  # nothing is lost over it
            finally:
                reset_peak_memory()
                self.reporter.begin("train", self.config.training.steps)
        prune(self.run, self.config.track.keep, best)

    def _scored(self, scorer: Scorer, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Score a checkpoint and write the table; return the best step so far, if that is to be kept."""
        scorer.score(checkpoint)
        scored = scorer.scored()
        write_tracked(self.run, scored, scorer.truth)
        if self.config.track.keep is None:
            return ()
        best = best_checkpoint(tracked_videos(scored), Goal.parse(self.config.track.best))
        return () if best is None else (best.step,)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore threads and global random states after the body."""
    threads, python, numpy = torch.get_num_threads(), random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(python)
        np.random.set_state(numpy)
