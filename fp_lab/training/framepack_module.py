"""The training logic of an arm from plain values: for an own Trainer, LightningCLI and stored checkpoints."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.checks.plain import from_plain
from fp_lab.model import FramePackModel
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.training.framepack_system import FramePackSystem, LatentBatch, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from fp_lab.training.sections import sections_of


class FramePackModule(FramePackSystem):
    """A `FramePackSystem` that is built from plain values, which its checkpoints hold too.

    ``FramePackModule.load_from_checkpoint(path)`` needs nothing but the path, and the base, if it has one.

    Args:
        recipe: ablation name, such as ``td_f16k4f2k2f1k1_g9``.
        base: model to fine-tune: ``shipped``, or a folder; None for a new transformer.
        backbone: of a new transformer.
        context: options of the context.
        objective: of the training.
        optimizer: and its schedule.
        sampling: of `predict_step`.
        steps: of the training, for the schedule of the learning rate.
        seed: of all draws.

    Raises:
        ValueError: settings that do not go together.
    """

    def __init__(
        self,
        recipe: str,
        base: str | None = "shipped",
        backbone: TinyDiTConfig | dict[str, Any] | None = None,
        context: ContextConfig | dict[str, Any] | None = None,
        objective: ObjectiveConfig | dict[str, Any] | None = None,
        optimizer: OptimizerConfig | dict[str, Any] | None = None,
        sampling: SamplingConfig | dict[str, Any] | None = None,
        steps: int = 1000,
        seed: int = 0,
    ) -> None:
        parsed = parse(recipe)
        if parsed.codebook is not None:
            raise ValueError(
                f"recipe: got {recipe}, whose codebook has to be fitted to the training videos; expected a "
                "continuous history here (FramePackSystem takes a model with a codebook, as grids make it)"
            )
        sizes = _typed(TinyDiTConfig, backbone)
        options = _typed(ContextConfig, context)
        asked = _typed(ObjectiveConfig, objective)
        optimizing = _typed(OptimizerConfig, optimizer)
        sampled = _typed(SamplingConfig, sampling)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if base is None:
                model = FramePackModel(TinyDiT(sizes), kernels_of(parsed), asked.flow.output, options)
            else:
                model = FramePackModel.load(base).with_kernels(kernels_of(parsed), options)
        source = sections_of(parsed, options, sampled.fill, asked.given)
        super().__init__(model, source, asked, optimizing, steps=steps, seed=seed)
        self.recipe, self.sampling = parsed, sampled
        # plain values only: checkpoints are loaded with weights_only=True
        settings = {"backbone": sizes, "context": options, "objective": asked, "optimizer": optimizing}
        plain = {name: asdict(value) for name, value in {**settings, "sampling": sampled}.items()}
        self.save_hyperparameters({"recipe": recipe, "base": base, "steps": steps, "seed": seed, **plain})

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Velocity loss of one batch, with the same draws in every epoch, which no training batch has."""
        # training counts from 0, validation from -1 down
        loss = self.section_loss(batch, step_generator(self.seed, self.global_rank, -1 - batch_idx))
        self.log("val/loss", loss, prog_bar=True, batch_size=len(batch["latents"]), sync_dist=True)
        return loss

    def predict_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Latents ``b c t h w`` of generated videos: from the first frames of a batch to its length.

        Raises:
            ValueError: embeddings in place of captions.
        """
        latents, captions = batch["latents"], [text for text in batch["captions"] if isinstance(text, str)]
        if len(captions) < len(latents):
            raise ValueError("got embeddings of captions, expected texts: guidance needs an empty one too")
        given = latents[:, :, : self.objective.given[0]]
        made = torch.empty_like(latents)
        made[:, :, : given.shape[2]] = given
        rank = self.global_rank * 1_000_000_007
        seeds = [self.seed + rank + batch_idx * len(latents) + item for item in range(len(latents))]
        for part in rollout(
            self.model,
            self.recipe,
            given,
            frames=latents.shape[2],
            captions=captions,
            seeds=seeds,
            sampling=self.sampling,
            images=batch.get("images"),
        ):
            made[:, :, list(part.section.targets)] = part.latents
        return made


def _typed(kind: Any, value: Any) -> Any:
    if value is None:
        return kind()
    return from_plain(kind, value) if isinstance(value, dict) else value
