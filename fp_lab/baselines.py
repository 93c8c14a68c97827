"""The alternative architectures that packing is compared with: recipes, masks and history noise.

Two protocols. ``paper``: one window of 33 latent frames, about half of it history. ``equal_tokens``: as many
tokens as the packed arm that a baseline is compared with, spent on uncompressed frames.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from fp_lab.packing.token_counts import context_limit, section_tokens
from fp_lab.recipe import Recipe, parse

Protocol = Literal["paper", "equal_tokens"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "equal_tokens")
WINDOW = 33
"""Latent frames of the paper's window."""
BLOCK = 3
"""Latent frames per block of causal attention."""
PACKED = "f1k1_x_g9_f1k1f2k2f16k4_td"
"""The packed arm of the paper's Table 2."""


@dataclass(frozen=True)
class Baseline:
    """An alternative architecture as a small difference from a packed arm.

    Attributes:
        recipe: what it sees of the history.
        settings: further settings under dotted keys of an experiment.
    """

    recipe: Recipe
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Window:
    """Uncompressed frames at the disposal of a baseline.

    Attributes:
        history: frames of history.
        section: frames generated at once.
        video: frames of the whole video.
        packed: the packed arm that it is compared with.
    """

    history: int
    section: int
    video: int
    packed: Recipe

    @property
    def frames(self) -> int:
        """Of history and section together."""
        return self.history + self.section


_TOLD = {"context.timestep": "level", "objective.history.noise": 0.0}


def _repeating(window: _Window) -> Baseline:
    """Image-to-video again and again: only the last generated frame is seen."""
    return Baseline(parse(f"f1k1_g{window.frames - 1}"))


def _anchor(window: _Window) -> Baseline:
    """The first frame at a fixed early index, then a sliding window (as StreamingT2V)."""
    sliding = max(1, window.history - 1)
    return Baseline(parse(f"f1k1_x_f{sliding}k1_g{window.section}"), {"context.positions": "relative"})


def _causal(window: _Window) -> Baseline:
    """Block-causal attention over a sliding window, with cached keys and values (as CausVid)."""
    block = min(BLOCK, window.frames - 1)
    recipe = parse(f"f{window.frames - block}k1_g{block}")
    return Baseline(recipe, {"context.attention": "block_causal"})


def _noisy(train: str, test: float, **further: Any) -> Callable[[_Window], Baseline]:
    """A sliding window whose history is at the level sigma_x * t (Diffusion Forcing, SkyReels-V2)."""
    settings = {**_TOLD, "objective.history.level": train, "sampling.history_level": test, **further}

    def noisy(window: _Window) -> Baseline:
        return Baseline(parse(f"f{window.history}k1_g{window.section}"), settings)

    return noisy


def _full(window: _Window) -> Baseline:
    """Control: the whole history, uncompressed."""
    return Baseline(parse(f"f{max(1, window.video - 1)}k1_g{window.packed.section}"))


def _sliding(window: _Window) -> Baseline:
    """Control: a sliding window of uncompressed frames."""
    return Baseline(parse(f"f{window.history}k1_g{window.section}"))


def _none(window: _Window) -> Baseline:
    """Control: no history."""
    return Baseline(parse(f"g{window.packed.section}"))


_GUIDED = {"objective.history.dropout": 0.2, "sampling.history_guidance": 1.5}

BASELINES: dict[str, Callable[[_Window], Baseline]] = {
    "repeating_i2v": _repeating,
    "anchor_frames": _anchor,
    "causal_attention": _causal,
    "noisy_history_test0": _noisy("random", 0.0),
    "noisy_history_test0.1": _noisy("random", 0.1),
    "noisy_history_test0.5": _noisy("random", 0.5),
    "noisy_history_train0.1_test0.1": _noisy("fixed", 0.1),
    "history_guidance": _noisy("random", 0.1, **_GUIDED),
    "full_history": _full,
    "sliding_window": _sliding,
    "no_history": _none,
}


def baseline(
    name: str,
    protocol: str = "paper",
    *,
    packed: str = PACKED,
    frames: int,
    rows: int,
    columns: int,
) -> Baseline:
    """An alternative architecture of the paper's Table 2, or a control.

    Args:
        name: a key of `BASELINES`.
        protocol: one of `PROTOCOLS`.
        packed: ablation name of the arm that it is compared with.
        frames: latent frames of a whole video.
        rows: latent rows of a frame.
        columns: latent columns of a frame.

    Raises:
        ValueError: an unknown name or protocol, or a packed arm without a limit to its context.
    """
    if name not in BASELINES:
        close = get_close_matches(name, BASELINES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"baseline: got {name!r}, expected one of {', '.join(BASELINES)}{hint}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol: got {protocol!r}, expected one of {', '.join(PROTOCOLS)}")
    arm = parse(packed)
    history, section = WINDOW // 2, WINDOW - WINDOW // 2
    if protocol == "equal_tokens":
        tokens = context_limit(arm, rows, columns)
        if tokens is None:
            raise ValueError(
                f"like: got {packed}, whose tail ta grows without bound; expected td, tc or none"
            )
        frame = section_tokens(arm, rows, columns) // arm.section
        history, section = max(1, tokens // frame), arm.section
    return BASELINES[name](_Window(history, section, frames, arm))
