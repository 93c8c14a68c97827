"""A look at training batches: what reaches the packer, attention and the loss, as digests.

The batch goes through the training logic of the arm itself; hooks read what arrives, so an option that gets
lost on the way shows nothing, wherever it is lost.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.first_batch.digests import digest_of
from fp_lab.lab.first_batch.inputs import VIDEOS, starting_model
from fp_lab.lab.materials.models import build_system
from fp_lab.lab.materials.training_videos import TrainingVideos
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import Arrangement, PlannedSections
from fp_lab.packing.context import ContextConfig
from fp_lab.shapes import ContextLevel, ContextMemory, PackedContext
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.history import TrainingStep

PARTS = ("tokens", "mask", "history", "target", "text", "loss", "weights")
"""Parts of a batch in which arms may differ, in the order of messages."""
_ROUNDING = 1e-6  # relative difference of losses that other kernels of the same sums make


@dataclass(frozen=True)
class BatchLook:
    """One training batch of an arm, by digests.

    Attributes:
        tokens: number, places and timesteps of the context's tokens.
        values: values of these tokens, which depend on the history too.
        mask: whether the context is attended to as it was remembered, and masks by which some queries see
            other keys than others; tokens that no query sees count as `tokens`.
        history: latents that the history is taken from, discretised where there is a codebook, the levels of
            its noise, and the videos that have any.
        target: noisy section, its place and its noise levels.
        text: encoded captions.
        weights: names and shapes of the weights that learn, which may begin by changing nothing.
        loss: mean loss.
    """

    tokens: str
    values: str
    mask: tuple[bool, frozenset[str]]
    history: str
    target: str
    text: str
    weights: str
    loss: float

    def changes(self, other: "BatchLook") -> tuple[str, ...]:
        """Return the parts that differ from those of another arm's batch, some of `PARTS`."""
        differ = {name: getattr(self, name) != getattr(other, name) for name in PARTS}
        # tokens of another history have other values; of the same one they are made differently
        differ["tokens"] |= self.values != other.values and not differ["history"]
        # another section moves the draws after it, such as which captions are dropped
        differ["text"] &= not differ["target"]
        differ["loss"] = abs(self.loss - other.loss) > _ROUNDING * abs(other.loss)
        differ["weights"] &= not any(differ[name] for name in PARTS[:-1])  # of every other recipe they do
        return tuple(name for name in PARTS if differ[name])


def look_at_batches(config: ExperimentConfig, videos: TrainingVideos, count: int) -> list[BatchLook]:
    """Look at the first batches of an arm's training, without training it.

    Args:
        config: settings of the arm.
        videos: some of its training videos.
        count: number of batches.

    Raises:
        NotLookedAt: the arm needs what is not on this machine, see `starting_model`.
    """
    with starting_model(config, videos) as model:
        system = build_system(config, model)
        weights = {name: weight.shape for name, weight in system.named_parameters() if weight.requires_grad}
        # frozen, and not without gradients: a source of histories keeps what it learns only with them
        system.requires_grad_(False)
        size = min(VIDEOS, *videos.shapes.values())
        batches = islice(videos.batches(size, config.seed), count)
        return [
            _look(system, digest_of(weights), batch, step_generator(config.seed, 0, number))
            for number, batch in enumerate(batches)
        ]


def _look(system: FramePackSystem, weights: str, batch: Any, generator: Generator) -> BatchLook:
    seen = _Seen()
    with seen.watching(system):
        loss = float(system.section_loss(batch, generator))
    call, packed = seen.call, seen.packed
    layout = None if packed is None else (packed.tokens.shape, packed.phases, packed.mask, packed.timesteps)
    reads = None if packed is None else packed.reads_text
    made = None if packed is None else (packed.tokens, packed.key_scale)
    return BatchLook(
        tokens=digest_of((layout, reads)),
        values=digest_of(made),
        mask=(isinstance(call["context"], ContextMemory), frozenset(seen.attention.masks)),
        history=digest_of(seen.history),
        target=digest_of([call[name] for name in ("noisy", "times", "sigmas", "moments")]),
        text=digest_of(call["text"]),
        weights=weights,
        loss=loss,
    )


@dataclass
class _Seen:
    """What a batch is made of, as it arrives; of several calls the last, which the loss is of."""

    attention: "_Attention" = field(default_factory=lambda: _Attention())
    drawn: Tensor | None = None
    known: Tensor | None = None
    levels: Tensor | None = None
    packed: PackedContext | None = None
    call: Mapping[str, Any] = field(default_factory=dict)

    @property
    def history(self) -> tuple[Tensor | None, ...]:
        return self.drawn, self.known, self.levels

    @contextmanager
    def watching(self, system: FramePackSystem) -> Iterator[None]:
        model, source = system.model, system.source
        with ExitStack() as stack:
            for module, hook in ((model.packer, self._packed), (model, self._called)):
                handle = module.register_forward_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
            if isinstance(source, PlannedSections):

                def drawing(history: Tensor) -> None:
                    self.drawn = model.history(history)
                    self.attention.forget()  # of what histories were made with

                system.source = _Watched(source.recipe, source.fill, source.given, drawing)
                stack.callback(setattr, system, "source", source)
                resample = system.history_source.resample

                def resampling(step: TrainingStep, arrangements: Sequence[Arrangement]) -> Tensor | None:
                    if (history := resample(step, arrangements)) is not None:
                        drawing(history)
                    return history

                own = vars(system.history_source)
                own["resample"] = resampling
                stack.callback(own.pop, "resample")
            stack.enter_context(self.attention)
            yield

    def _packed(self, module: Any, arguments: Any, named: Any, output: PackedContext | None) -> None:
        context, levels = (*arguments, *named.values(), None)[:2]
        self.packed, self.levels, self.known = output, levels, _with_history(context)

    def _called(self, module: FramePackModel, arguments: Any, named: Any, output: Tensor) -> None:
        bound = signature(module.forward).bind(*arguments, **named)
        bound.apply_defaults()
        self.call = bound.arguments


@dataclass(frozen=True)
class _Watched(PlannedSections):
    """Sections whose draw begins at the seed again: what the history draws before it moves nothing else."""

    seen: Callable[[Tensor], None] = lambda history: None

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        self.seen(latents)
        generator.manual_seed(generator.initial_seed())
        return super().draw(latents, config, generator)


def _with_history(context: Sequence[ContextLevel]) -> Tensor | None:
    """Bool ``b``: which videos have a history that is not all zero; None without levels."""
    each = [level.known.any(1) & level.latents.flatten(1).any(1) for level in context]
    return torch.stack(each).any(0) if each else None


class _Attention(TorchFunctionMode):
    """Reads the masks that attention gets, as the kernels see them."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.masks: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self._see(*args, **named)
        return func(*args, **named)

    def _see(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **others: Any,
    ) -> None:
        if is_causal:
            self.masks.add("causal")
        elif attn_mask is not None and bool((attn_mask != attn_mask[..., :1, :]).any()):
            self.masks.add(digest_of(attn_mask))
