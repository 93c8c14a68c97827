"""What a source of training histories is: what it is given in a step, what it returns, what it may keep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from fp_lab.causal import Blocks
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import HISTORY_SOURCES, HistoryFunction
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import Arrangement, ArrangementSource, PlannedSections
from fp_lab.shapes import Caption
from fp_lab.training.objective import ObjectiveConfig


@dataclass(frozen=True)
class TrainingStep:
    """What a source may use in one training step.

    Attributes:
        model: that is trained.
        latents: true videos ``b c t h w``.
        captions: one per video.
        images: embeddings of first frames ``b i e``, for models that take them.
        sections: where arrangements are drawn from.
        objective: settings of the training.
        shared: CPU generator of the whole step; a draw from it moves all draws after it.
    """

    model: FramePackModel
    latents: Tensor
    captions: Sequence[Caption]
    images: Tensor | None
    sections: ArrangementSource | Blocks
    objective: ObjectiveConfig
    shared: Generator

    @cached_property
    def own(self) -> Generator:
        """CPU generator of the source alone: arms that differ in their source share all other draws."""
        # seeded by a number that the shared one would draw next, which it still draws for others after this
        ahead = Generator().set_state(self.shared.get_state())
        return Generator().manual_seed(int(torch.randint(2**62, (), generator=ahead)))

    @property
    def learning(self) -> bool:
        """Whether the model learns from this step: a loss that is only measured leaves a state as it is."""
        return torch.is_grad_enabled()

    @property
    def plan(self) -> PlannedSections:
        """Plan that sections are drawn from, see `HistorySource.needs_plan`."""
        assert isinstance(self.sections, PlannedSections)
        return self.sections

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """The model as in sampling: in evaluation mode, without gradients."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)


@dataclass(frozen=True)
class Videos:
    """Videos of a step, each ``b c t h w``.

    Attributes:
        history: that contexts are taken from.
        targets: that sections to learn are taken from.
    """

    history: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Prediction:
    """Prediction of a training step.

    Attributes:
        noisy: section at `sigmas`, ``b c t h w``.
        velocity: predicted, of the same shape.
        target: clean latents of the section.
        sigmas: noise levels ``b``.
    """

    noisy: Tensor
    velocity: Tensor
    target: Tensor
    sigmas: Tensor

    @property
    def error(self) -> Tensor:
        """One-step prediction less the truth, x0_hat - x0 with x0_hat = x_t - sigma v, ``b c t h w``."""
        sigmas = self.sigmas.to(self.noisy.dtype)[:, None, None, None, None]
        return self.noisy - sigmas * self.velocity - self.target


@dataclass(frozen=True)
class Sampled:
    """Sections that are sampled beside a training step, without gradients.

    Attributes:
        shares: mean number of times that each section of the plan is, per video of a batch.
        steps: forward passes of a section.
    """

    shares: tuple[float, ...]
    steps: int


class HistorySource:
    """Where a training takes its histories from; one is made per training. The defaults are true histories.

    Args:
        config: settings of the history.
    """

    needs_plan: ClassVar[bool] = False
    """Whether sections have to be those of one recipe's plan."""

    def __init__(self, config: HistoryConfig) -> None:
        self.config = config

    def videos(self, step: TrainingStep) -> Videos:
        """Return the videos of a step, before its sections are drawn."""
        return Videos(step.latents, step.latents)

    def resample(self, step: TrainingStep, arrangements: Sequence[Arrangement]) -> Tensor | None:
        """Return another history ``b c t h w`` for sections that were drawn; None: that of `videos`."""
        return None

    def observe(self, step: TrainingStep, prediction: Prediction) -> None:
        """Take in the prediction of a step, without gradients; `step.learning` says whether to keep it."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs: tensors and plain values, which load with weights_only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of an interrupted training."""

    @staticmethod
    def sampled(config: HistoryConfig, sections: int) -> Sampled:
        """Return what is sampled beside a training step, from a plan of so many sections."""
        return Sampled((0.0,) * sections, 0)


class FunctionHistory(HistorySource):
    """History from a function of latents and generator, as plugins register them."""

    def __init__(self, config: HistoryConfig, function: HistoryFunction) -> None:
        super().__init__(config)
        self.function = function

    def videos(self, step: TrainingStep) -> Videos:
        """Return the function's latents as history."""
        return Videos(self.function(step.latents, step.shared), step.latents)


def make_source(config: HistoryConfig) -> HistorySource:
    """Make the source that a config names."""
    known = HISTORY_SOURCES.choose("objective.history.source", config.source)
    if isinstance(known, type):
        made: HistorySource = known(config)
        return made
    return FunctionHistory(config, known)


def sampled_beside(config: HistoryConfig, sections: int) -> Sampled:
    """Return what the source that a config names samples beside a training step, see `Sampled`."""
    known = HISTORY_SOURCES.choose("objective.history.source", config.source)
    kind: type[HistorySource] = known if isinstance(known, type) else HistorySource
    return kind.sampled(config, sections)


def keeps_state(source: HistorySource) -> bool:
    """Return whether a source has a state to be stored."""
    return type(source).state_dict is not HistorySource.state_dict


def draw_videos(source: HistorySource, step: TrainingStep) -> Videos:
    """Return the videos of a step, checked where a plugin makes them.

    Raises:
        ValueError: they are not finite latents of the shape of the true ones.
    """
    videos, name = source.videos(step), step.objective.history.source
    # only of a plugin: a look at the values makes a device wait
    if HISTORY_SOURCES.foreign(name):
        for latents in (videos.history, videos.targets):
            if latents.shape != step.latents.shape or not latents.isfinite().all():
                raise ValueError(
                    f"history source {name!r}: got latents {tuple(latents.shape)}, expected finite ones of "
                    f"the shape of the true ones, {tuple(step.latents.shape)}"
                )
    return videos
