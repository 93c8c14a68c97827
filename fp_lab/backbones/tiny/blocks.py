"""Blocks of the compact transformer, their inputs, and its features of time and place."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from fp_lab.backbones.key_weights import attend
from fp_lab.packing.rope import rotate
from fp_lab.shapes import Phases, TextCondition


@dataclass(frozen=True)
class Words:
    """Keys and values of a caption for one block ``b heads l d``, and which are words, ``b 1 1 l``."""

    keys: Tensor
    values: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class BlockCall:
    """What every block needs beside its tokens.

    Attributes:
        phases: of the tokens.
        words: of the caption, for each block that reads it.
        readers: number of tokens, counted from the end, that attend to the caption.
        key_scales: factors of keys, ``depth heads n 1``; None for 1.
        key_weights: of all keys that are attended to, earlier ones too, ``b 1 n 1``; None for 1.
    """

    phases: Phases
    words: tuple[Words | None, ...]
    readers: int
    key_scales: Tensor | None
    key_weights: Tensor | None = None


class Block(nn.Module):
    """Attention, cross-attention to the caption in some blocks, MLP; each behind modulated layer norm."""

    def __init__(self, width: int, head_width: int, hidden: int, *, text: bool) -> None:
        super().__init__()
        self.head_width = head_width
        self.table = nn.Parameter(torch.randn(6, width) / math.sqrt(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm, self.key_norm = nn.RMSNorm(head_width), nn.RMSNorm(head_width)
        self.out = nn.Linear(width, width)
        self.cross = CrossAttention(width, head_width) if text else None
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        call: BlockCall,
        index: int,
        mask: Tensor | None,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``b n d`` after the block, and the keys and values that they attended to."""
        q, k, v = self.keys_and_values(x, modulation, call, index, earlier)
        _, _, gate_a, shift_m, scale_m, gate_m = (modulation + self.table).unbind(2)
        attended = attend(partial(F.scaled_dot_product_attention, attn_mask=mask), q, k, v, call.key_weights)
        x = torch.addcmul(x, gate_a, self.out(rearrange(attended, "b heads n d -> b n (heads d)")))
        words = call.words[index]
        if words is not None and call.readers:
            x = self._read(x, words, call.readers)
        hidden = self.up(torch.addcmul(shift_m, normalise(x), 1 + scale_m))
        return torch.addcmul(x, gate_m, self.down(squared_relu(hidden))), k, v

    def keys_and_values(
        self,
        x: Tensor,
        modulation: Tensor,
        call: BlockCall,
        index: int,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``b heads n d``, rotated; keys and values begin with the earlier ones."""
        shift, scale = (modulation[:, :, :2] + self.table[:2]).unbind(2)
        q, k, v = rearrange(
            self.qkv(torch.addcmul(shift, normalise(x), 1 + scale)),
            "b n (three heads d) -> three b heads n d",
            three=3,
            d=self.head_width,
        )
        # norm, then rotation: pooled phases shorten keys, and a norm behind them would scale that back
        q = rotate(_in_float32(self.query_norm, q), call.phases)
        k = rotate(_in_float32(self.key_norm, k), call.phases)
        if call.key_scales is not None:
            # behind the norm, which would undo any factor
            k = k * call.key_scales[index].to(k.dtype)
        if earlier is not None:
            # earlier keys are rotated and scaled already
            k, v = (torch.cat(pair, 2) for pair in zip(earlier, (k, v), strict=True))
        return q, k, v

    def _read(self, x: Tensor, words: Words, readers: int) -> Tensor:
        """Cross-attention to the caption, for the last tokens alone where the context does not read it."""
        assert self.cross is not None
        if readers == x.shape[1]:
            return x + self.cross(normalise(x), words)
        others, reading = x.tensor_split((x.shape[1] - readers,), 1)
        return torch.cat((others, reading + self.cross(normalise(reading), words)), 1)


class CrossAttention(nn.Module):
    """Tokens attend to the words of a caption."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.query_norm, self.key_norm = nn.RMSNorm(head_width), nn.RMSNorm(head_width)
        self.out = nn.Linear(width, width)

    def words(self, text: TextCondition) -> Words:
        """Keys and values of a caption."""
        k, v = rearrange(
            self.key_value(text.tokens), "b l (two heads d) -> two b heads l d", two=2, d=self.head_width
        )
        mask = None if text.mask is None else text.mask[:, None, None]
        return Words(_in_float32(self.key_norm, k), v, mask)

    def forward(self, x: Tensor, words: Words) -> Tensor:
        """What tokens ``b n d`` take from the caption, ``b n d``."""
        q = rearrange(self.query(x), "b n (heads d) -> b heads n d", d=self.head_width)
        q = _in_float32(self.query_norm, q)
        x = F.scaled_dot_product_attention(q, words.keys, words.values, attn_mask=words.mask)
        return self.out(rearrange(x, "b heads n d -> b n (heads d)"))


TIME_FEATURES = 64
PLACE_FEATURES = 16
MOMENT_FEATURES = 12


def _in_float32(norm: nn.Module, x: Tensor) -> Tensor:
    # a mean of squares, which 16 bits are too coarse for
    normalised: Tensor = norm(x.float())
    return normalised.to(x.dtype)


class _SquaredRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (gradient * positive).mul_(2)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)² (https://arxiv.org/abs/2109.08668). Its gradient is 2 max(x, 0): two passes, not five."""
    squared: Tensor = _SquaredRelu.apply(x)
    return squared


def normalise(x: Tensor) -> Tensor:
    """Layer norm without parameters."""
    return F.layer_norm(x, x.shape[-1:])


def time_features(timesteps: Tensor) -> Tensor:
    """Sinusoids ``... 64`` of timesteps in [0, 1000] (https://arxiv.org/abs/2006.11239), float32."""
    half = TIME_FEATURES // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=timesteps.device) / half)
    angles = timesteps.to(torch.float32)[..., None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), -1)


def place_features(rows: int, columns: int, like: Tensor) -> Tensor:
    """Where a token lies in the view, ``h*w 16``: rotary phases are relative, walls are not."""
    octave = math.pi * 2.0 ** torch.arange(PLACE_FEATURES // 4, device=like.device) / 2
    y = (torch.arange(rows, device=like.device) + 0.5)[:, None] / rows * octave
    x = (torch.arange(columns, device=like.device) + 0.5)[:, None] / columns * octave
    y = torch.cat((y.cos(), y.sin()), -1)[:, None].expand(rows, columns, -1)
    x = torch.cat((x.cos(), x.sin()), -1)[None].expand(rows, columns, -1)
    return torch.cat((y, x), -1).flatten(0, 1).to(like.dtype)


def moment_features(moments: Tensor) -> Tensor:
    """How far each frame is from the section's first: motion is a distance times a speed.

    Args:
        moments: distances in frames, ``b t``.

    Returns:
        Features ``b t 12``.
    """
    octave = math.pi * 2.0 ** -torch.arange(1, 1 + MOMENT_FEATURES // 2, device=moments.device)
    angles = moments[..., None] * octave  # wavelengths of 4 to 128 frames
    return torch.cat((angles.cos(), angles.sin()), -1)
