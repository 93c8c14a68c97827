"""A compact diffusion transformer for experiments on one CPU.

adaLN with one shared modulation and a table per block (adaLN-single, https://arxiv.org/abs/2310.00426),
RMS-normalised queries and keys (https://arxiv.org/abs/2302.05442), squared ReLU
(https://arxiv.org/abs/2109.08668), rotary phases, text by cross-attention.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fp_lab.conditions import WordEmbedding, WordsConfig
from fp_lab.packing.packer import pad_to_kernel
from fp_lab.packing.rope import RopeConfig, phases, rotate
from fp_lab.recipe import BASE
from fp_lab.shapes import PackedContext, Phases, TextCondition


@dataclass(frozen=True)
class TinyDiTConfig:
    """Size of the transformer.

    Attributes:
        channels: of a latent frame.
        width: of a token.
        depth: blocks.
        head_width: channels per attention head; divides the width.
        mlp_ratio: hidden width of the MLP over the width.
        text_every: cross-attention to the caption in every n-th block, beginning with the first.
        theta: rotary base.
        moments: tell noisy tokens how far their frame is from the section's first; rotary phases tell it to
            attention alone, and motion is learned late.
        words: the text embedding.
    """

    channels: int = 8
    width: int = 128
    depth: int = 5
    head_width: int = 32
    mlp_ratio: int = 3
    text_every: int = 2
    theta: float = 256.0
    moments: bool = True
    words: WordsConfig = field(default_factory=WordsConfig)

    def __post_init__(self) -> None:
        """Heads must fill the width, and their rotary pairs the axes."""
        if self.width % self.head_width or self.head_width % 8:
            raise ValueError(
                "head_width must be a multiple of 8 that divides the width, "
                f"got {self.head_width} and {self.width}"
            )

    @property
    def rope(self) -> RopeConfig:
        """A quarter of each head for time, three eighths for rows and as much for columns, in pairs."""
        spatial = 2 * (3 * self.head_width // 16)
        return RopeConfig(self.theta, (self.head_width - 2 * spatial, spatial, spatial))


class TinyDiT(nn.Module):
    """The native backbone; see `fp_lab.backbones.protocol.Backbone` for its call."""

    def __init__(self, config: TinyDiTConfig) -> None:
        super().__init__()
        self.config = config
        self.width, self.channels, self.rope = config.width, config.channels, config.rope
        size = (BASE.t, BASE.h, BASE.w)
        self.embed = nn.Conv3d(config.channels, config.width, size, stride=size)
        self.place = nn.Linear(_PLACE_FEATURES, config.width)
        self.moment = nn.Linear(_MOMENT_FEATURES, config.width) if config.moments else None
        self.text = WordEmbedding(config.words, config.width)
        self.time = nn.Sequential(
            nn.Linear(_TIME_FEATURES, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 6 * config.width))
        self.blocks = nn.ModuleList(
            _Block(config, text=i % config.text_every == 0) for i in range(config.depth)
        )
        self.final_table = nn.Parameter(torch.randn(2, config.width) / math.sqrt(config.width))
        self.final = nn.Linear(config.width, config.channels * BASE.volume)
        for layer in (self.final, self.moment):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def encode_text(self, captions: Sequence[str]) -> TextCondition:
        """Embed the words of captions."""
        condition: TextCondition = self.text(captions)
        return condition

    def forward(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        text: TextCondition,
        context: PackedContext | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict for the noisy section ``b c t h w``; see `Backbone`."""
        rows, columns = noisy.shape[-2:]
        x = self.embed(pad_to_kernel(noisy, BASE))
        grid = x.shape[-3:]
        x = x.flatten(2).mT + self.place(_place_features(grid[1], grid[2], x)).repeat(grid[0], 1)
        if self.moment is not None:
            moment = self.moment(_moment_features(times).to(x.dtype))
            x = x + moment.repeat_interleave(grid[1] * grid[2], 1)
        phase = phases(times, rows, columns, BASE, self.rope)
        count = x.shape[1]
        mask = None if attention_mask is None else attention_mask[:, None]
        if context is not None:
            x = torch.cat((context.tokens.to(x.dtype), x), 1)
            phase = Phases(
                torch.cat((context.phases.cos, phase.cos), 1), torch.cat((context.phases.sin, phase.sin), 1)
            )
            mask = _join_masks(mask, context.mask, count)
        embedded = self.time(_time_features(timesteps).to(x.dtype))
        if embedded.ndim == 2:
            embedded = embedded[:, None]
        modulation = self.modulation(embedded).unflatten(-1, (6, -1))  # b 1|n 6 d
        for block in self.blocks:
            x = block(x, modulation, phase, mask, text)
        final = embedded[..., None, :] + self.final_table
        shift, scale = (final if final.shape[1] == 1 else final[:, -count:]).unbind(2)
        x = self.final(_normalise(x[:, -count:]) * (1 + scale) + shift)
        x = rearrange(
            x, "b (t h w) (c p q) -> b c t (h p) (w q)", t=grid[0], h=grid[1], w=grid[2], p=BASE.h, q=BASE.w
        )
        return x[..., :rows, :columns]


class _Block(nn.Module):
    def __init__(self, config: TinyDiTConfig, text: bool) -> None:
        super().__init__()
        width, hidden = config.width, config.mlp_ratio * config.width
        self.head_width = config.head_width
        self.table = nn.Parameter(torch.randn(6, width) / math.sqrt(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm, self.key_norm = nn.RMSNorm(config.head_width), nn.RMSNorm(config.head_width)
        self.out = nn.Linear(width, width)
        self.cross = _CrossAttention(config) if text else None
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(
        self, x: Tensor, modulation: Tensor, phase: Phases, mask: Tensor | None, text: TextCondition
    ) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (modulation + self.table).unbind(2)
        x = x + gate_a * self._attend(_normalise(x) * (1 + scale_a) + shift_a, phase, mask)
        if self.cross is not None:
            x = x + self.cross(_normalise(x), text)
        hidden = self.up(_normalise(x) * (1 + scale_m) + shift_m)
        return x + gate_m * self.down(F.relu(hidden).square())

    def _attend(self, x: Tensor, phase: Phases, mask: Tensor | None) -> Tensor:
        q, k, v = rearrange(
            self.qkv(x), "b n (three heads d) -> three b heads n d", three=3, d=self.head_width
        )
        q, k = rotate(_in_float32(self.query_norm, q), phase), rotate(_in_float32(self.key_norm, k), phase)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(x, "b heads n d -> b n (heads d)"))


class _CrossAttention(nn.Module):
    def __init__(self, config: TinyDiTConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key_value = nn.Linear(config.width, 2 * config.width, bias=False)
        self.query_norm, self.key_norm = nn.RMSNorm(config.head_width), nn.RMSNorm(config.head_width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, text: TextCondition) -> Tensor:
        q = rearrange(self.query(x), "b n (heads d) -> b heads n d", d=self.head_width)
        k, v = rearrange(
            self.key_value(text.tokens), "b l (two heads d) -> two b heads l d", two=2, d=self.head_width
        )
        mask = None if text.mask is None else text.mask[:, None, None]
        q, k = _in_float32(self.query_norm, q), _in_float32(self.key_norm, k)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(x, "b heads n d -> b n (heads d)"))


_TIME_FEATURES = 64
_PLACE_FEATURES = 16
_MOMENT_FEATURES = 12


def _in_float32(norm: nn.Module, x: Tensor) -> Tensor:
    normalised: Tensor = norm(x.float())
    return normalised.to(x.dtype)


def _normalise(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _time_features(timesteps: Tensor) -> Tensor:
    """Sinusoids ``... 64`` of timesteps in [0, 1000] (https://arxiv.org/abs/2006.11239), float32."""
    half = _TIME_FEATURES // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=timesteps.device) / half)
    angles = timesteps.to(torch.float32)[..., None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), -1)


def _place_features(rows: int, columns: int, like: Tensor) -> Tensor:
    """Where a token lies in the view, ``h*w 16``: rotary phases are relative, walls are not."""
    octave = math.pi * 2.0 ** torch.arange(_PLACE_FEATURES // 4, device=like.device) / 2
    y = (torch.arange(rows, device=like.device) + 0.5)[:, None] / rows * octave
    x = (torch.arange(columns, device=like.device) + 0.5)[:, None] / columns * octave
    y = torch.cat((y.cos(), y.sin()), -1)[:, None].expand(rows, columns, -1)
    x = torch.cat((x.cos(), x.sin()), -1)[None].expand(rows, columns, -1)
    return torch.cat((y, x), -1).flatten(0, 1).to(like.dtype)


def _moment_features(times: Tensor) -> Tensor:
    """How far each frame is from the section's first, ``b t 12``: motion is a distance times a speed."""
    octave = math.pi * 2.0 ** -torch.arange(1, 1 + _MOMENT_FEATURES // 2, device=times.device)
    angles = (times - times[:, :1])[..., None] * octave  # wavelengths of 4 to 128 frames
    return torch.cat((angles.cos(), angles.sin()), -1)


def _join_masks(mask: Tensor | None, context: Tensor | None, count: int) -> Tensor | None:
    """Attention mask ``b 1 q|1 n`` from a full mask and the context's key mask."""
    if context is None:
        return mask
    keys = F.pad(context, (0, count), value=True)[:, None, None]
    return keys if mask is None else mask & keys
