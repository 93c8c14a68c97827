"""Fit of base and codec, whose curve is a CSV file that grows as it goes."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from fp_data.crops import FrameCrops
from fp_data.latents import LatentBatches
from fp_lab.checks.finite import check_step
from fp_lab.lab.config import TrainingConfig
from fp_lab.lab.runtime.quiet import quiet_lightning
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.callbacks import SavePoint
from fp_lab.lab.training.trainer import fit_system, make_trainer, steps_taken
from fp_lab.training.framepack_system import FramePackSystem

CURVE_FILE = "curve.csv"
_EVERY = 10  # steps of a row


def fit_with_curve(
    system: LightningModule,
    batches: FrameCrops | LatentBatches,
    settings: TrainingConfig,
    folder: Path,
    metric: str,
    callbacks: list[Callback],
    reporter: Reporter,
) -> None:
    """Train, resumed from the folder's last checkpoint, and write the curve of a logged value.

    Args:
        system: system to train.
        batches: batches of the training.
        settings: settings of the Trainer.
        folder: output folder.
        metric: name of the logged value.
        callbacks: callbacks before those of curve and checkpoints.
        reporter: receiver of progress.

    Raises:
        NotFinite: a logged value or gradient is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.ckpt"
    batches.first_batch = steps_taken(last, None, reporter)
    curve = Curve(folder / CURVE_FILE, metric, batches.first_batch, reporter)
    reporter.begin("train", settings.steps)
    with quiet_lightning():
        trainer = make_trainer(
            settings, [*callbacks, curve, SavePoint(last, settings.checkpoint_every)], folder
        )
        loader = DataLoader(batches, batch_size=None)
        fit_system(trainer, system, loader, last if batches.first_batch else None)


class Curve(Callback):
    """Appends step, mean logged value and training seconds to a CSV file, also over interruptions.

    It also stops the training at the first value that is not finite.

    Args:
        path: path of the file.
        metric: name of the logged value.
        done: steps taken before.
        reporter: receiver of every step.
    """

    def __init__(self, path: Path, metric: str, done: int, reporter: Reporter) -> None:
        self.path, self.metric, self.done, self.reporter = path, metric, done, reporter
        self.values: list[float] = []
        self.started = 0.0
        self.learning_rate = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows of an interrupted training up to its checkpoint, also where no step is left."""
        rows = [["step", self.metric, "seconds"]]
        if self.path.is_file():
            with self.path.open(newline="") as file:
                kept = filter(_is_row, csv.reader(file))
                rows += [row for row in kept if int(row[0]) <= self.done]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        self.started = perf_counter() - (float(rows[-1][2]) if len(rows) > 1 else 0.0)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate, which changes before the step ends."""
        self.learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a row, if it is time.

        Raises:
            NotFinite: the value, or the gradient norm where known, is not finite.
        """
        figures = {self.metric: float(trainer.strategy.reduce(trainer.callback_metrics[self.metric]))}
        if isinstance(pl_module, FramePackSystem):
            figures["gradient norm"] = float(pl_module.gradient_norm)
        check_step(trainer.global_step, self.learning_rate, **figures)
        self.values.append(figures[self.metric])
        self.reporter.advance(trainer.global_step, f"{self.metric} {figures[self.metric]:.3f}")
        if trainer.is_global_zero and trainer.global_step % _EVERY == 0:
            row = [trainer.global_step, f"{fmean(self.values):.5f}", f"{perf_counter() - self.started:.1f}"]
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow(row)
            self.values.clear()


def _is_row(fields: Sequence[str]) -> bool:
    """Return whether a line holds three numbers, unlike the head and the last line of a killed process."""
    with suppress(ValueError):
        return len([float(text) for text in fields]) == 3
    return False
