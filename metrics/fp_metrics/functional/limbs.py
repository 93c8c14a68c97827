"""How certain a found person is, and whether limbs keep their lengths.

Landmarks are BlazePose's 33 per person. Positions are ``(33, 2)``, pixels, (x, y). Source of the landmarks:
Bazarevsky et al., "BlazePose", 2020, arXiv:2006.10204, figure 3.
"""

import torch
from torch import Tensor

LEAST_VISIBILITY = 0.5
"""A landmark is seen when it is visible with at least this probability, and in the picture."""

LEAST_LIMBS = 3
"""Fewer limbs have no common scale that one of them could leave."""

FARTHEST_MOVE = 0.5
"""A person that moved by more than this share of the own size between two looks is another one."""

LIMBS: dict[str, tuple[int, int]] = {
    "ear to ear": (7, 8),
    "eye to eye": (3, 6),
    "mouth": (9, 10),
    "left neck": (7, 11),
    "right neck": (8, 12),
    "shoulders": (11, 12),
    "left upper arm": (11, 13),
    "right upper arm": (12, 14),
    "left forearm": (13, 15),
    "right forearm": (14, 16),
    "left side": (11, 23),
    "right side": (12, 24),
    "hips": (23, 24),
    "left thigh": (23, 25),
    "right thigh": (24, 26),
    "left shank": (25, 27),
    "right shank": (26, 28),
}
"""Pairs of landmarks whose distance a body keeps."""

_ENDS = torch.tensor(list(LIMBS.values()))


def certainty(
    detection: float, confirmation: float, visibility: Tensor | None = None, presence: Tensor | None = None
) -> Tensor:
    """How certain a found part of a body is: scalar in [0, 1].

    ``detection * confirmation``, of a whole person also times the mean visibility of the landmarks, weighted
    by their presence in the picture: ``sum(presence * visibility) / sum(presence)``. The detector's score is
    part of it because the landmark networks confirm nearly all that they are shown with 0.9 or more.

    Args:
        detection: the detector's score.
        confirmation: the landmark network's.
        visibility: ``(33,)`` in [0, 1].
        presence: ``(33,)`` in [0, 1].
    """
    both = torch.tensor(detection * confirmation, dtype=torch.float64)
    if visibility is None or presence is None:
        return both
    return both * (presence * visibility).sum() / presence.sum().clamp(min=1e-12)


def landmarks_seen(points: Tensor, visibility: Tensor, height: int, width: int) -> Tensor:
    """Which landmarks are visible and inside the picture: bool ``(33,)``.

    Args:
        points: ``(33, 2)``.
        visibility: ``(33,)`` in [0, 1].
        height: of the picture.
        width: of the picture.
    """
    size = torch.tensor([width, height], dtype=points.dtype)
    inside = ((points >= 0) & (points < size)).all(-1)
    return inside & (visibility >= LEAST_VISIBILITY)


def limb_lengths(points: Tensor) -> Tensor:
    """Length of each of `LIMBS` in the picture: ``(17,)``, pixels."""
    return (points[_ENDS[:, 0]] - points[_ENDS[:, 1]]).norm(dim=-1)


def limb_stability(first: Tensor, second: Tensor, seen: Tensor) -> Tensor:
    """How constant the limbs' lengths are up to a common scale: scalar in [0, 1]; NaN for fewer than 3 limbs.

    ``exp(-sum w |log r - m|)``: r is the ratio of a limb's two lengths, m the median of the log ratios (the
    change of the body's scale), w the limb's share of all length (its two lengths' geometric mean). Weighted
    so, because a limb that points to the viewer is short, and its ratio means little. Limbs whose ends were
    not both seen do not count. Real bodies turn, so that real video reads somewhat less than 1.

    Args:
        first: ``(33, 2)``.
        second: the same person later.
        seen: bool ``(33,)``: in both.
    """
    counted = seen[_ENDS].all(-1)
    before, after = (limb_lengths(points)[counted].double().clamp(min=1e-6) for points in (first, second))
    if len(before) < LEAST_LIMBS:
        return torch.tensor(float("nan"), dtype=torch.float64)
    change, weight = (after / before).log(), (after * before).sqrt()
    weight = weight / weight.sum()
    return (-(weight * (change - weighted_median(change, weight)).abs()).sum()).exp()


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """The value ``v`` of ``(n,)`` that minimises ``sum w |values - v|``: scalar.

    Args:
        values: ``(n,)``.
        weights: ``(n,)``, at least 0, of sum 1.
    """
    order = values.argsort(stable=True)
    reached = weights[order].cumsum(0) >= 0.5 - 1e-9
    return values[order][int(reached.to(torch.int8).argmax())]


def same_person(first: Tensor, second: Tensor, seen: Tensor) -> bool:
    """Whether two poses can be of one person: their middle moved by at most half their size.

    The size is the diagonal of the larger box around the landmarks that are seen in both.

    Args:
        first: ``(33, 2)``.
        second: a little later.
        seen: bool ``(33,)``: in both; at least one.
    """
    both = torch.stack((first[seen], second[seen]))
    size = (both.amax(1) - both.amin(1)).norm(dim=-1).max()
    return bool((both[0].mean(0) - both[1].mean(0)).norm() <= FARTHEST_MOVE * size)
