"""Masks of keys that lie in a row."""

import torch
import torch.nn.functional as F
from torch import Tensor


def joined(earlier: Tensor | None, before: int, own: Tensor | None, count: int) -> Tensor | None:
    """Bool ``b n`` over [earlier, own] keys; None where all are to be attended to.

    Args:
        earlier: mask of the earlier keys; None for all.
        before: how many they are.
        own: mask of the others; None for all.
        count: how many those are.
    """
    if earlier is None and own is None:
        return None
    if earlier is None:
        assert own is not None
        return F.pad(own, (before, 0), value=True)
    return F.pad(earlier, (0, count), value=True) if own is None else torch.cat((earlier, own), 1)
