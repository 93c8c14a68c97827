"""Cost of generating videos with a real model: operations, time and memory of one card per section."""

from collections.abc import Mapping
from dataclasses import dataclass

from fp_lab.backbones.diffusers.presets import FRAME_STRIDE, Family, RealModel
from fp_lab.lab.planning.memory import Hardware
from fp_lab.lab.planning.trace import Trace
from fp_lab.recipe import parse
from fp_lab.recipe.lengths import sections_in

SECONDS = (5, 60)
"""Lengths of the planned videos, s."""
FPS: Mapping[Family, int] = {"hunyuan": 30, "framepack": 30, "wan": 16}
"""Frame rates that families were trained on."""
_DISTILLED: frozenset[Family] = frozenset({"hunyuan", "framepack"})


@dataclass(frozen=True)
class Generating:
    """Settings of generation.

    Attributes:
        steps: number of solver steps, with one evaluation each, as Euler's and UniPC's have.
        guided: whether guidance is classifier-free, which calls the model twice; None: as it was released,
            Wan with it, HunyuanVideo and FramePack without: theirs is distilled.
    """

    steps: int = 25
    guided: bool | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")

    def calls(self, model: RealModel) -> int:
        """Number of forward passes per section."""
        guided = model.family not in _DISTILLED if self.guided is None else self.guided
        return self.steps * (2 if guided else 1)


@dataclass(frozen=True)
class Generation:
    """Cost of videos of a model, each section with its whole context.

    Attributes:
        calls: number of forward passes per section.
        flops: floating-point operations of a section.
        seconds: time of a section.
        fps: frames per second.
        sections: numbers of sections of videos of `SECONDS`.
        together: peak bytes with transformer and VAE on the card.
        parts: peak bytes with the two in turns.
        blocks: peak bytes with the transformer's blocks one after the other, two of them on the card.
    """

    calls: int
    flops: int
    seconds: float
    fps: int
    sections: tuple[int, ...]
    together: float
    parts: float
    blocks: float

    @property
    def minutes(self) -> tuple[float, ...]:
        """Minutes to generate videos of `SECONDS`."""
        return tuple(count * self.seconds / 60 for count in self.sections)


def generation(
    model: RealModel, cost: Trace, inference: float, vae: int, hardware: Hardware, generating: Generating
) -> Generation:
    """Estimate the cost of videos on one card, without decoding.

    Args:
        model: model with its recipe.
        cost: cost of a packed section.
        inference: bytes of the transformer's weights, activations and latents.
        vae: bytes of the VAE's weights.
        hardware: hardware with the card.
        generating: settings of generation.
    """
    calls = generating.calls(model)
    flops = calls * cost.flops
    streamed = inference - 2 * cost.blocks + 2 * 2 * cost.largest_block
    return Generation(
        calls=calls,
        flops=flops,
        seconds=flops / hardware.speed,
        fps=FPS[model.family],
        sections=tuple(sections_of(model, seconds) for seconds in SECONDS),
        together=inference + vae,
        parts=max(inference, vae),
        blocks=max(min(streamed, inference), vae),
    )


def sections_of(model: RealModel, seconds: float) -> int:
    """Number of sections of a video of about this length, as with `fp-lab generate --seconds`."""
    return sections_in(seconds, FPS[model.family], FRAME_STRIDE, parse(model.recipe).section)
