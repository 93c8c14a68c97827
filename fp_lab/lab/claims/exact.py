"""Exact claims: contexts, kernels, token counts, shifts, and planned memory and time."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from fp_lab.lab.claims.claim import Check, Evidence, Outcome
from fp_lab.lab.compare.paper_values import paper
from fp_lab.packing.token_counts import context_length, ideal_context_length, ideal_limit, level_tokens
from fp_lab.recipe import parse
from fp_lab.recipe.compressions import from_parts

if TYPE_CHECKING:
    from fp_lab.lab.planning.plan import Plan

ROWS, COLUMNS = 60, 104
"""Latent rows and columns of 480 x 832 pixels."""
FRAME_TOKENS = ROWS // 2 * COLUMNS // 2
VARIANTS = {
    "base": ("td_f2k2f1k1h4w4f1k1h4w2f1k1_g9", 2.0),
    "lite": ("td_f20k4f1k1_g9", 4.0),
    "extended": ("td_f2k2f1k1h4w4f2k1h4w2f1k1_g9", 5 / 3),
}
"""Schedule of each model variant, and the compression rate whose ideal limit it meets."""
KERNELS = ((1, 2, 2), (1, 4, 2), (1, 4, 4), (1, 8, 4), (1, 8, 8))
SHIFTS = (2.06, 2.68, 3.49, 4.54, 5.91, 7.0)
"""Flow shifts of sections of 1 to 6 latent frames at 480p."""
_INFERENCE_GB = 40
_TOLERANCE = 0.1  # what `fp-lab plan` is validated to

Pair = tuple[str, float, float]


def matches(pairs: Callable[[], Sequence[Pair]], tolerance: float = 0.0) -> Check:
    """Make a check that all computed values equal the claimed ones.

    Args:
        pairs: name, computed value, claimed value.
        tolerance: largest absolute difference.
    """

    def check(evidence: Evidence) -> Outcome:
        found = pairs()
        wrong = [pair for pair in found if abs(pair[1] - pair[2]) > tolerance]
        told = "; ".join(f"{what}: {got:g} (claimed {wanted:g})" for what, got, wanted in wrong or found)
        return Outcome("not reproduced" if wrong else "reproduced", told)

    return check


def context_formula() -> list[Pair]:
    """Compare the closed form of a geometric sum with the sum, the limit, and a constant packed context."""
    pairs = []
    for rate in (5 / 3, 2.0, 4.0):
        for history in (1, 16, 60):
            closed = FRAME_TOKENS * (9 + (1 - rate**-history) / (1 - 1 / rate))
            got = ideal_context_length(9, history, rate, FRAME_TOKENS)
            pairs.append((f"L at rate {rate:.3g}, {history} frames", round(got, 6), round(closed, 6)))
        limit = ideal_limit(9, rate, FRAME_TOKENS)
        endless = ideal_context_length(9, 200, rate, FRAME_TOKENS)
        pairs.append((f"limit at rate {rate:.3g}", round(limit, 6), round(endless, 6)))
    geometric = from_parts("geometric", "vanilla")
    lengths = [context_length(geometric, history, ROWS, COLUMNS) for history in (10, 100, 1000)]
    pairs += [
        (f"packed tokens after {n} frames", got, lengths[0])
        for n, got in zip((100, 1000), lengths[1:], strict=True)
    ]
    return pairs


def kernels() -> list[Pair]:
    """Compare kernels of the nearest frames at rate 2, and the frames of each temporal kernel."""
    nearest = [level.kernel for level in from_parts("geometric", "vanilla").levels[::-1]]
    pairs: list[Pair] = [
        (f"frame {place + 1} kernel {axis}", got, claimed)
        for place, (kernel, wanted) in enumerate(zip(nearest, KERNELS, strict=True))
        for axis, got, claimed in zip("thw", (kernel.t, kernel.h, kernel.w), wanted, strict=True)
    ]
    temporal = from_parts("temporal", "vanilla").levels[::-1]
    frames = {f"frames at k{level.kernel.t}": (level.frames, level.kernel.t) for level in temporal}
    return pairs + [(what, got, claimed) for what, (got, claimed) in frames.items()]


def variant_tokens() -> list[Pair]:
    """Compare context tokens of the model variants and of the ideal schedule."""
    told = paper().variants
    pairs: list[Pair] = []
    for name, (recipe, rate) in VARIANTS.items():
        claimed = told[name]["context_tokens"]
        tokens = sum(level_tokens(parse(recipe), ROWS, COLUMNS))
        pairs.append((f"{name}, {recipe}", tokens, claimed))
        pairs.append((f"{name}, ideal", round(ideal_limit(0, rate, FRAME_TOKENS), 6), claimed))
    return pairs


def shifts() -> list[Pair]:
    """Compare the flow shift by section length at 480p."""
    from fp_lab.flow.matching import shift_of_tokens

    return [
        (f"g{section}", round(shift_of_tokens(section * FRAME_TOKENS), 2), claimed)
        for section, claimed in enumerate(SHIFTS, start=1)
    ]


def seven_scores() -> list[Pair]:
    """Compare the number of scores, and the frames at each end that drift uses."""
    from fp_metrics import SCORES, segment

    pairs: list[Pair] = [("scores", len(SCORES), 7)]
    for length, ends in {20: 3, 64: 9, 1000: 150}.items():
        found = segment(length)
        pairs.append((f"frames of either end of {length}", len(found.start), ends))
        pairs.append((f"last {ends} of {length} begin at", found.end[0], length - ends))
    return pairs


@lru_cache
def planned(model: str = "base", recipe: str | None = None) -> "Plan":
    """Plan memory and time from fake tensors; takes some seconds the first time."""
    from fp_lab.lab.planning.plan import plan

    return plan(model, recipe=recipe)


def batch_and_time(evidence: Evidence) -> Outcome:
    """Check the ratios of batch and time of the 13B model at 480p, as estimated by `fp-lab plan`."""
    told, made = paper().efficiency, planned()
    batch, hours = told["batch_per_8xA100_80G"], told["hours_13B_480p"]
    claimed = batch["framepack"] / batch["full_sequence"], hours["full_sequence"] / hours["framepack"]
    found = made.batch_ratio, made.time_ratio
    reached = all(got >= (1 - _TOLERANCE) * wanted for got, wanted in zip(found, claimed, strict=True))
    fit = made.chosen
    words = (
        f"batch {fit.full} -> {fit.packed}, a ratio of {found[0]:.2f} (claimed {claimed[0]:g}); activation "
        f"memory per sample, which whole samples round: {made.memory_ratio:.2f}; time ratio {found[1]:.2f} "
        f"(claimed {claimed[1]:g})"
    )
    return Outcome("reproduced" if reached else "not reproduced", words)


def batch_by_window(evidence: Evidence) -> Outcome:
    """Check the largest LoRA batch on 8 cards of 80 GB at windows of 3 and 5 frames."""
    claimed = {3: 64, 5: 32}
    found = {window: planned("base", _window(window)).chosen.packed for window in claimed}
    near = all(abs(found[window] / wanted - 1) <= 0.25 for window, wanted in claimed.items())
    words = "; ".join(f"window {w}: {found[w]} (claimed about {wanted})" for w, wanted in claimed.items())
    return Outcome("reproduced" if near else "not reproduced", words)


def _window(frames: int) -> str:
    return VARIANTS["base"][0].replace("_g9", f"_g{frames}")


def memory(evidence: Evidence) -> Outcome:
    """Check inference in about 40 GB, and training on 8 cards of 80 GB."""
    made = planned()
    gigabytes = made.inference_bytes(made.packed) / 1e9
    words = (
        f"inference {gigabytes:.0f} GB without text encoder and codec (claimed about {_INFERENCE_GB} with "
        f"them); training on 8 cards of 80 GB: {made.chosen.packed} packed sections per step"
    )
    if not made.chosen.packed or gigabytes > _INFERENCE_GB * (1 + _TOLERANCE):
        return Outcome("not reproduced", words)
    near = gigabytes >= _INFERENCE_GB * (1 - _TOLERANCE)
    return Outcome("reproduced" if near else "inconclusive", words)


def initial_projections() -> list[Pair]:
    """Compare a larger kernel's projection at initialisation with the base one on average-pooled latents."""
    import torch
    from torch import nn

    from fp_lab.packing.packer import interpolate_projection
    from fp_lab.recipe import BASE, Kernel

    random = torch.Generator().manual_seed(0)
    base = nn.Conv3d(4, 8, (1, 2, 2), stride=(1, 2, 2))
    pairs = []
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
        for kernel in (Kernel(1, 4, 2), Kernel(2, 4, 4), Kernel(4, 8, 8)):
            latents = torch.randn(1, 4, 8, 16, 16, generator=random)
            size = (kernel.t, kernel.h, kernel.w)
            own = nn.functional.conv3d(latents, *interpolate_projection(base, kernel), stride=size)
            shares = (kernel.t // BASE.t, kernel.h // BASE.h, kernel.w // BASE.w)
            pooled = base(nn.functional.avg_pool3d(latents, shares))
            pairs.append((f"largest difference at {kernel}", float((own - pooled).abs().max()), 0.0))
    return pairs
