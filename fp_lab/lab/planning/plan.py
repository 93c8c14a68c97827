"""Plan of memory and time on given cards: a packed section against the full sequence."""

from dataclasses import dataclass, replace
from fractions import Fraction

from fp_lab.backbones.diffusers.presets import LATENT_CHANNELS, RealModel, model_of
from fp_lab.explain import latent_size
from fp_lab.lab.planning.components import Beside, beside
from fp_lab.lab.planning.generation import Generating, Generation, generation
from fp_lab.lab.planning.memory import Hardware, Training, largest_batch
from fp_lab.lab.planning.packed_model import Tokens
from fp_lab.lab.planning.trace import Trace, trace
from fp_lab.packing.token_counts import context_limit, kernel_tokens, section_tokens
from fp_lab.recipe import BASE, parse

BRIEF_BATCH = (16, 64)
"""Samples per batch on 8 cards of 80 GB, full sequence and FramePack, as the paper's project states."""
BRIEF_HOURS = (240.0, 48.0)
"""Hours of training (13B, 480p), full sequence and FramePack, as the paper's project states."""


@dataclass(frozen=True)
class Fit:
    """Largest batches on a number of cards.

    Attributes:
        training: way of training.
        cards: number of cards.
        state: bytes on each card that do not depend on the batch.
        packed: largest number of packed sections per step, over all cards.
        full: largest number of full sequences per step, over all cards.
    """

    training: Training
    cards: int
    state: float
    packed: int
    full: int


@dataclass(frozen=True)
class Plan:
    """Costs of a model, packed and as a full sequence.

    Attributes:
        model: planned model.
        recipe: recipe of the packed section.
        latents: latent shape of the full sequence: frames, rows and columns.
        hardware: cards to plan for.
        training: way of training behind ratios and hours.
        samples: number of training samples behind hours.
        generating: settings of generation.
        packed_tokens: number of tokens of a section with its context.
        full_tokens: number of tokens of all frames, noisy at once.
        packed: cost of a packed section.
        full: cost of the full sequence.
        closed_form: number of context tokens by volume, see `closed_form`.
        beside: memory of encoders and VAE.
    """

    model: RealModel
    recipe: str
    latents: tuple[int, int, int]
    hardware: Hardware
    training: Training
    samples: int
    generating: Generating
    packed_tokens: Tokens
    full_tokens: Tokens
    packed: Trace
    full: Trace
    closed_form: float
    beside: Beside

    @property
    def chosen(self) -> Fit:
        """Fit of `training` on all cards."""
        return self.fit(self.training, self.hardware.cards)

    def fit(self, training: Training, cards: int) -> Fit:
        """Largest batches for a way of training and a number of cards."""
        state = training.state(self.packed).per_card(training.sharding, cards)
        packed, full = (
            cards * largest_batch(self.hardware.usable, state, training.activations(cost))
            for cost in (self.packed, self.full)
        )
        return Fit(training, cards, state, packed, full)

    @property
    def memory_ratio(self) -> float:
        """Activation bytes of the full sequence over those of a packed section."""
        return self.training.activations(self.full) / self.training.activations(self.packed)

    @property
    def batch_ratio(self) -> float:
        """Largest batch of packed sections over that of full sequences; infinite where no sequence fits."""
        fit = self.chosen
        return fit.packed / fit.full if fit.full else float("inf" if fit.packed else "nan")

    @property
    def time_ratio(self) -> float:
        """Time of a full sequence over that of a packed section, at equal utilisation."""
        return self.training.flops(self.full) / self.training.flops(self.packed)

    def hours(self, cost: Trace) -> float:
        """Hours to train on `samples`, on all cards."""
        speed = self.hardware.cards * self.hardware.speed
        return self.samples * self.training.flops(cost) / speed / 3600

    @property
    def generation(self) -> Generation:
        """Cost of videos of packed sections, on one card."""
        inference = self.inference_bytes(self.packed)
        return generation(self.model, self.packed, inference, self.beside.vae, self.hardware, self.generating)

    def inference_bytes(self, cost: Trace) -> float:
        """Bytes of weights, activations of a call without gradients and latents of the video, in bfloat16."""
        frames, rows, columns = self.latents
        return 2 * cost.parameters + cost.inference + 2 * LATENT_CHANNELS * frames * rows * columns


def plan(
    model: str | RealModel = "base",
    *,
    recipe: str | None = None,
    pixels: str = "480x832",
    frames: int = 33,
    hardware: Hardware | None = None,
    training: Training | None = None,
    samples: int = 100_000,
    generating: Generating | None = None,
) -> Plan:
    """Plan memory and time of a real model from fake tensors: nothing is loaded, allocated or computed.

    Args:
        model: name in `MODELS`, or another config.
        recipe: ablation name of the packed section; by default the model's own.
        pixels: height x width, such as ``480x832``.
        frames: latent frames of the full sequence; 33 is the paper's window.
        hardware: cards to plan for; by default 8 A100 of 80 GB at 40 % of their peak.
        training: way of training behind ratios and hours; by default LoRA, all sharded, with checkpointing.
        samples: number of training samples behind hours.
        generating: settings of generation; by default 25 steps, guided as the model was released.

    Raises:
        ValueError: the model is unknown, the context has no limit, or the size is invalid.
    """
    chosen = model_of(model) if isinstance(model, str) else model
    chosen = chosen if recipe is None else replace(chosen, recipe=str(parse(recipe)))
    hardware, training = hardware or Hardware(), training or Training()
    if frames < 1 or samples < 1:
        raise ValueError(f"got {frames} frames and {samples} samples, expected at least 1 of each")
    rows, columns = latent_size("pixels", pixels)
    packed, full = packed_tokens(chosen.recipe, rows, columns), full_tokens(frames, rows, columns)
    costs = trace(chosen, packed), trace(chosen, full)
    return Plan(
        model=chosen,
        recipe=chosen.recipe,
        latents=(frames, rows, columns),
        hardware=hardware,
        training=training,
        samples=samples,
        generating=generating or Generating(),
        packed_tokens=packed,
        full_tokens=full,
        packed=costs[0],
        full=costs[1],
        closed_form=closed_form(chosen.recipe, rows, columns),
        beside=beside(chosen),
    )


def packed_tokens(recipe: str, rows: int, columns: int) -> Tokens:
    """Number of tokens of a section with its whole context.

    Args:
        recipe: ablation name.
        rows: number of latent rows.
        columns: number of latent columns.

    Raises:
        ValueError: the tail ``ta`` grows without bound.
    """
    parsed = parse(recipe)
    context = context_limit(parsed, rows, columns)
    if context is None:
        raise ValueError(f"recipe: got {recipe}, whose tail ta grows without bound; expected td, tc or none")
    return Tokens(section_tokens(parsed, rows, columns), context)


def closed_form(recipe: str, rows: int, columns: int) -> float:
    """Number of context tokens by volume: latents of the packed frames over those of a token, unpadded.

    Args:
        recipe: ablation name.
        rows: number of latent rows.
        columns: number of latent columns.
    """
    parsed = parse(recipe)
    packed = [(level.frames, level.kernel) for level in parsed.levels]
    if parsed.left.tail == "tc":
        packed.append((1, parsed.left.levels[0].kernel))
    if parsed.right.tail == "tc":
        packed.append((1, parsed.right.levels[-1].kernel))
    return float(sum(Fraction(n * rows * columns, k.t * k.h * k.w) for n, k in packed))


def full_tokens(frames: int, rows: int, columns: int) -> Tokens:
    """Number of tokens of a full sequence, all frames noisy at once."""
    return Tokens(kernel_tokens(frames, BASE, rows, columns))
