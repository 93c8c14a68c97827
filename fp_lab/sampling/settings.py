"""Settings of sampling, and which of them a model and its recipe give nothing to do."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fp_lab.checks.later import acts_later
from fp_lab.checks.ranges import check_ranges
from fp_lab.flow.matching import Shift
from fp_lab.flow.solvers import SolverConfig
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Fill
from fp_lab.sampling.history_latents import AdaptiveConfig
from fp_lab.sampling.recency import RecencyConfig

SectionNoise = Literal["fresh", "shared"]
SampledPositions = Literal["trained", "relative"]


@dataclass(frozen=True)
class SamplingConfig:
    """How sections are generated.

    Attributes:
        solver: which one, and its steps.
        guidance: classifier-free guidance scale s of v_n + s (v_p - v_n); 1 samples without it.
        distilled_guidance: scale that a model with distilled guidance (HunyuanVideo, FramePack) is told.
        negative_prompt: caption of v_n.
        rescale: share of guidance rescale (https://arxiv.org/abs/2305.08891, section 3.4).
        shift: token count that drives the shift of times.
        fill: how the endpoint order fills its gap; None for the way that the recipe's shape implies.
        history_level: sigma_x of noise on the history, which is at level sigma_x * t; the model is told
            (`context.timestep`: level).
        history_guidance: w of v = (1-w) v(X | no history) + w v(X | history); 1 samples without it. A model
            that is told the level of its history's noise has pure noise for no history.
        rope_jitter: strength of rotary bases that differ between heads, see `jittered`.
        recency: bias of attention against far history.
        adaptive: noise on the history after drift.
        section_noise: noise that sections start from: ``fresh`` for each, or one draw ``shared`` by all.
        reencode: whether history is decoded and encoded again, see `reencoded`; or as it was made.
        positions: of context and section, as `context.positions` was ``trained``, or ``relative`` whatever it
            was: history at 0, 1, .., the section behind it, always the same, so that a first frame that the
            recipe keeps is never farther away (LongLive, https://arxiv.org/abs/2509.22622; Infinity-RoPE,
            https://arxiv.org/abs/2511.20649).
    """

    solver: SolverConfig = field(default_factory=SolverConfig)
    guidance: float = 1.0
    distilled_guidance: float = 6.0
    negative_prompt: str = ""
    rescale: float = 0.0
    shift: Shift = "section"
    fill: Fill | None = None
    history_level: float = 0.0
    history_guidance: float = 1.0
    rope_jitter: float = 0.0
    recency: RecencyConfig = field(default_factory=RecencyConfig)
    adaptive: AdaptiveConfig = field(
        default_factory=AdaptiveConfig, metadata=acts_later("once a section has left the bands")
    )
    section_noise: SectionNoise = "fresh"
    reencode: bool = False
    positions: SampledPositions = "trained"

    def __post_init__(self) -> None:
        """Refuse scales and levels out of range."""
        shares = dict.fromkeys(("rescale", "history_level"), "[0, 1]")
        check_ranges("sampling", self, distilled_guidance="[0, inf)", rope_jitter="[0, 1)", **shares)

    def of_history(self) -> dict[str, Any]:
        """Switches that only a history gives something to do, by their names, where they are not off."""
        return {name: value for name in _OF_HISTORY if (value := getattr(self, name)) != getattr(_OFF, name)}

    def without_history(self) -> "SamplingConfig":
        """The same for a model that has no history, or another one: neither switches of it nor its order."""
        off = {name: getattr(_OFF, name) for name in _OF_HISTORY}
        return replace(self, fill=None, history_level=0.0, history_guidance=1.0, **off)


_OFF, _OF_HISTORY = SamplingConfig(), ("recency", "adaptive", "reencode", "positions")


def check_switches(sampling: SamplingConfig, context: ContextConfig, recipe: Recipe) -> None:
    """Refuse switches of sampling that can do nothing, or nothing exact, to a model.

    Raises:
        ValueError: names the switch and why.
    """
    if sampling.history_level and context.timestep != "level":
        raise ValueError(
            f"sampling.history_level: got {sampling.history_level} for a model with context.timestep "
            f"{context.timestep!r}, expected one with 'level', that is told the noise of its history"
        )
    for name, value in sampling.of_history().items():
        if recipe.order == "none":
            raise ValueError(
                f"sampling.{name}: got {value} with recipe {recipe}, which has no history; leave it out"
            )
        if context.attention == "block_causal" and name in ("recency", "positions"):
            raise ValueError(
                f"sampling.{name}: got {value} with context.attention 'block_causal', expected full or "
                "isolated: the keys of a block are cached once, before later sections are known"
            )
    if sampling.positions == context.positions == "relative":
        raise ValueError(
            "sampling.positions: got 'relative' with context.positions 'relative', as the model was trained; "
            "leave it out"
        )
    sink, relative = sampling.recency.sink, "relative" in (sampling.positions, context.positions)
    if relative and sampling.recency.beta and sink > (kept := _kept_first_frames(recipe)):
        raise ValueError(
            f"sampling.recency.sink: got {sink} with relative positions and recipe {recipe}, expected at "
            f"most {kept}: only first frames that the recipe keeps have a place of their own"
        )


def _kept_first_frames(recipe: Recipe) -> int:
    """Number of first frames of the video that every section sees, as a run of their own."""
    runs = recipe.left.runs
    return runs[0].frames if len(runs) > 1 or (runs and recipe.order == "inverted") else 0
