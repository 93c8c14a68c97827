"""Noisy latents and the tokens that stand for their patches."""

from typing import Literal

from einops import rearrange
from torch import Tensor

from fp_lab.recipe import BASE

Layout = Literal["c p q", "p q c"]
"""Order of channels, rows and columns in the output of a token."""


def require_shape(noisy: Tensor, shape: tuple[int, int, int]) -> None:
    """Refuse latents of another shape than a section was prepared for.

    Raises:
        ValueError: frames, rows or columns differ.
    """
    if tuple(noisy.shape[2:]) != shape:
        raise ValueError(
            f"got noisy latents of {tuple(noisy.shape[2:])} frames, rows and columns, expected "
            f"{shape}, which the section was prepared for"
        )


def unpatchify(x: Tensor, shape: tuple[int, int, int], layout: Layout = "c p q") -> Tensor:
    """Latents ``b c t h w`` of a shape from tokens ``b (t h w) d``; what padded them is cut off."""
    frames, rows, columns = shape
    grid = {"t": frames, "h": -(-rows // BASE.h), "w": -(-columns // BASE.w), "p": BASE.h, "q": BASE.w}
    x = rearrange(x, f"b (t h w) ({layout}) -> b c t (h p) (w q)", **grid)
    return x[..., :rows, :columns]
