"""Training and evaluation videos of a world or of clips, for an own Trainer or LightningCLI."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from fp_lab.lab.config import CodecSource, DataConfig, EvaluationConfig, ExperimentConfig, TrainingConfig
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.training_videos import data_loader
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.training.framepack_system import LatentBatch


class FramePackData(LightningDataModule):
    """Latents and captions of videos, encoded once and kept on disk, as grids use them.

    Batches of training never end: give the Trainer ``max_steps``. They resume where a checkpoint stopped.

    Args:
        data: world or clips.
        codec: ``shipped``, or a folder.
        batch: videos of a batch, over all ranks.
        videos: held-out videos of validation and prediction.
        frames: length of these, latent frames.
        seed: of the order of the videos.
        cache: folder that encoded videos are kept in.
    """

    def __init__(
        self,
        data: DataConfig | None = None,
        codec: str = "shipped",
        batch: int = 4,
        videos: int = 8,
        frames: int = 19,
        seed: int = 0,
        cache: str = "runs/cache",
    ) -> None:
        super().__init__()
        data = data or DataConfig()
        self.config = ExperimentConfig(
            "g1",  # the videos do not depend on it
            data=data,
            codec=CodecSource(codec),
            evaluation=EvaluationConfig(videos=videos, frames=frames),
            training=TrainingConfig(batch=batch),
            seed=seed,
        )
        self.done = 0
        self.materials = Materials(Path(cache), Reporter())

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches without end; batch i depends on the seed and i alone."""
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        videos = self.materials.training(self.config)
        size, seed = self.config.training.batch, self.config.seed
        batches = videos.batches(size, seed, rank=rank, ranks=ranks, first_batch=self.done)
        return data_loader(batches, 0)

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out videos, in order."""
        batches: Any = list(self._held_out())  # a list is a data set by its methods
        return DataLoader(batches, batch_size=None)

    predict_dataloader = val_dataloader

    def _held_out(self) -> Iterator[LatentBatch]:
        held_out = self.materials.evaluation(self.config)
        size = self.config.training.batch
        for begin in range(0, len(held_out.latents), size):
            part = slice(begin, begin + size)
            yield {"latents": held_out.latents[part], "captions": held_out.truth.captions[part]}

    def state_dict(self) -> dict[str, int]:
        """How many batches were trained on."""
        if self.trainer is None:
            return {"done": self.done}
        done: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return {"done": done.processed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on behind them."""
        self.done = state_dict["done"]
