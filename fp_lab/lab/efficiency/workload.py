"""Workload of an arm for timing: training steps and sampling with real modules, random latents."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker

from fp_lab.causal import Blocks
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.planning.activations import watched
from fp_lab.lab.runtime.device import device_of
from fp_lab.packing.assemble import Arrangement, arrange_videos
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Section, plan
from fp_lab.sampling.rollout import rollout
from fp_lab.training.framepack_system import LatentBatch, step_generator

SECTIONS = 4
"""Largest number of timed sections of a plan, spread evenly."""
_CAPTION = "a red plain ball starting slowly left over a wavy grey background"


@dataclass(frozen=True)
class OneSection:
    """Draws the same section of a plan for every video."""

    recipe: Recipe
    section: Section

    @property
    def targets(self) -> int:
        """Frames of the section."""
        return len(self.section.targets)

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        """Return the section's arrangement for each of the videos ``b c t h w``."""
        return arrange_videos(self.recipe, [self.section] * len(latents), latents, config)


@dataclass(frozen=True)
class OneWindow(Blocks):
    """Draws the same window of blocks for every video."""

    window: range = range(0)

    @property
    def targets(self) -> int:
        """Frames of the window, all of them noisy to some degree."""
        return len(self.window)

    def draw_window(self, items: int, length: int, generator: Generator) -> Tensor:
        """Return the window's frames ``b t``."""
        return torch.tensor(self.window).repeat(items, 1)


@dataclass(frozen=True)
class Sampled:
    """Wall time of one video: of its first section and of all, s."""

    first_section: float
    total: float


class Workload:
    """An arm whose training steps and videos can be timed one by one, repeatedly.

    Attributes:
        sources: sections or windows to take training steps on, from the plan of training.
        tokens: number of tokens of a sample, context and section, for each source.
    """

    def __init__(self, config: ExperimentConfig, codec: LatentCodec) -> None:
        """Build model, optimiser and averages.

        Args:
            config: settings of the arm.
            codec: codec of the latents.
        """
        size = config.parsed_recipe.codebook
        self.config, self.device = config, device_of(config)
        self.codec = codec
        model = build_model(
            config, codec.channels, None if size is None else _any_codebook(size, codec.channels)
        )
        self.system = build_system(config, model).to(self.device)
        self.model = self.system.model
        optimizers: Any = self.system.configure_optimizers()
        self.optimizer: torch.optim.Optimizer = optimizers["optimizer"]
        self._average = [parameter.detach().clone() for parameter in self.model.parameters()]
        side, items = config.data.size // codec.spatial, config.training.batch
        shape = (items, codec.channels, config.data.frames, side, side)
        latents = torch.randn(shape, generator=Generator().manual_seed(0)).to(self.device)
        self.batch = LatentBatch(latents=latents, captions=[_CAPTION] * items)
        self.sources = _sources(config, self.system.source)
        self.tokens = [self._count(index) for index in range(len(self.sources))]

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def fullest(self) -> int:
        """Index of the source with most tokens, which bounds memory."""
        return max(range(len(self.tokens)), key=self.tokens.__getitem__)

    def loss(self, index: int, batch: LatentBatch | None = None) -> Tensor:
        """Compute the loss of a training step on a source; by default for the whole batch."""
        self.system.source = self.sources[index]
        mixed = self.config.training.precision == "bf16-mixed"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            generator = step_generator(self.config.seed, 0, index)
            return self.system.section_loss(batch or self.batch, generator)

    def step(self, index: int) -> None:
        """Take a training step without lightning: forward, backward, clipping, AdamW, averaging."""
        settings = self.config.training
        self.loss(index).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        now = [parameter.detach() for parameter in self.model.parameters()]
        torch._foreach_lerp_(self._average, now, 1 - settings.ema)

    def timed_step(self, index: int) -> float:
        """Measure the wall time of a step, s."""
        return timed(lambda: self.step(index), self.device)

    def sample(self) -> Sampled:
        """Generate one video, latents only."""
        config, model = self.config, self.model.eval()
        first = self.batch["latents"][:1, :, :1]
        _wait(self.device)
        started, done = time.perf_counter(), list[float]()
        for _ in rollout(
            model,
            config.parsed_recipe,
            first,
            frames=config.evaluation.frames,
            captions=[_CAPTION],
            seeds=[0],
            sampling=config.sampling,
            codec=self.codec.to(self.device),
        ):
            _wait(self.device)
            done.append(time.perf_counter() - started)
        model.train()
        return Sampled(done[0], done[-1])

    def activation_bytes(self) -> float:
        """Measure bytes kept for the backward pass per sample, at the fullest context."""
        with watched(self.model) as kept:
            self.loss(self.fullest)
        return kept.total / self.config.training.batch

    def peak_bytes(self) -> int:
        """Measure most bytes of tensors alive in a step at the fullest context, with model and optimiser.

        A step has to be taken before: the first one creates the optimiser's moments.
        """
        tracker = MemTracker()
        tracker.track_external(self.model, self.optimizer, *self._average, self.batch["latents"])
        with tracker:
            self.step(self.fullest)
        return int(tracker.get_tracker_snapshot("peak")[self.device]["Total"])

    def _count(self, index: int) -> int:
        """Count the tokens of a sample at the first block, by a hook."""
        seen = list[int]()
        hook = self.model.backbone.blocks[0].register_forward_pre_hook(
            lambda block, inputs: seen.append(inputs[0].shape[1])
        )
        one = LatentBatch(latents=self.batch["latents"][:1], captions=[_CAPTION])
        with hook, torch.no_grad():
            self.loss(index, one)
        return sum(seen)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Measure the wall time of a call until the device has finished, s."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _sources(config: ExperimentConfig, source: Any) -> Sequence[OneSection | OneWindow]:
    frames, recipe = config.data.frames, config.parsed_recipe
    if isinstance(source, Blocks):
        return [OneWindow(source.section, source.history, w) for w in _spread(source.windows(frames))]
    return [OneSection(recipe, s) for s in _spread(plan(recipe, frames, fill=config.sampling.fill))]


def _spread(of: Sequence[Any]) -> list[Any]:
    """Pick at most `SECTIONS`, with the first and the last."""
    count = min(len(of), SECTIONS)
    return [of[round(i * (len(of) - 1) / max(count - 1, 1))] for i in range(count)]


def _any_codebook(size: int, channels: int) -> Codebook:
    """Make a codebook of random centroids, as fast as a fitted one."""
    codebook = Codebook(size, channels)
    codebook.centroids.normal_(generator=Generator().manual_seed(0))
    return codebook
