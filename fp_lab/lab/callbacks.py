"""What happens between training steps: a table of them, and a place to continue from."""

import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from fp_lab.lab.atomic import replacing
from fp_lab.lab.reporter import Reporter, Step


class StepTable(Callback):
    """Keeps loss, learning rate and wall time of every step, over interruptions too."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.steps: list[Step] = []
        self._started = 0.0
        self._learning_rate = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the time and the learning rate, which moves on before the step ends."""
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the step and tell of it."""
        loss = float(outputs["loss"])
        seconds = time.perf_counter() - self._started
        step = Step(trainer.global_step, loss, self._learning_rate, seconds)
        self.steps.append(step)
        self.reporter.trained(step)
        self.reporter.advance(step.step, f"loss {loss:.3f}")

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, which load with weights_only."""
        return {"steps": [[s.step, s.loss, s.learning_rate, s.seconds] for s in self.steps]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the steps of an interrupted training."""
        self.steps = [Step(int(s), loss, rate, seconds) for s, loss, rate, seconds in state_dict["steps"]]


class SavePoint(Callback):
    """Writes the checkpoint that an interrupted training continues from.

    A write that is killed leaves the one before it whole.

    Args:
        path: of the checkpoint.
        every: steps between two writes.
        key: what the training depends on; a checkpoint of another key is of no use.
    """

    def __init__(self, path: Path, every: int, key: str) -> None:
        self.path, self.every, self.key = path, every, key

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one, if it is time."""
        if trainer.global_step % self.every == 0:
            with replacing(self.path) as unfinished:
                trainer.save_checkpoint(unfinished)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what it belongs to."""
        checkpoint["fp_lab_key"] = self.key
