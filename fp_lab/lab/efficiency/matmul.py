"""Rate of matrix products on this machine, which the rate of training is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from fp_lab.backbones.tiny import TinyDiTConfig

LARGE = 2048
"""Rows, columns and depth of a product that is large for any machine that trains tiny models."""


@dataclass(frozen=True)
class Product:
    """A product of ``m k`` and ``k n`` matrices."""

    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """Number of floating-point operations."""
        return 2 * self.m * self.k * self.n


LARGE_PRODUCT = Product(LARGE, LARGE, LARGE)


def block_products(backbone: TinyDiTConfig, tokens: int) -> tuple[Product, ...]:
    """List the products of a block's linear layers: queries with keys and values, output, and the MLP's two.

    Args:
        backbone: settings with width and MLP ratio.
        tokens: number of tokens of all samples of a batch.
    """
    d, hidden = backbone.width, backbone.mlp_ratio * backbone.width
    return tuple(Product(tokens, *sides) for sides in ((d, 3 * d), (d, d), (d, hidden), (hidden, d)))


def multiplying(
    products: Sequence[Product], device: torch.device, dtype: torch.dtype, times: int = 1
) -> Callable[[], object]:
    """Return a function that computes the products `times` times, into preallocated memory."""
    made = [
        (
            torch.randn(p.m, p.k, device=device, dtype=dtype),
            torch.randn(p.k, p.n, device=device, dtype=dtype),
            torch.empty(p.m, p.n, device=device, dtype=dtype),
        )
        for p in products
    ]

    def multiply() -> None:
        for _ in range(times):
            for a, b, out in made:
                torch.mm(a, b, out=out)

    return multiply
