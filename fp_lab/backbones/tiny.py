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
from fp_lab.shapes import ContextMemory, PackedContext, Phases, TextCondition


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
        self.depth, self.heads = config.depth, config.width // config.head_width
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

    def as_context(
        self, noisy: Tensor, times: Tensor, timesteps: Tensor, moments: Tensor | None = None
    ) -> PackedContext:
        """Tokens of a section ``b c t h w``; see `Backbone`."""
        rows, columns = noisy.shape[-2:]
        x = self.embed(pad_to_kernel(noisy, BASE))
        frames, *grid = x.shape[-3:]
        x = x.flatten(2).mT + self.place(_place_features(grid[0], grid[1], x)).repeat(frames, 1)
        per_frame = grid[0] * grid[1]
        if self.moment is not None:
            moments = times - times[:, :1] if moments is None else moments
            moment = self.moment(_moment_features(moments).to(x.dtype))
            x = x + moment.repeat_interleave(per_frame, 1)
        levels = timesteps[:, None] if timesteps.ndim == 1 else timesteps.repeat_interleave(per_frame, 1)
        return PackedContext(x, phases(times, rows, columns, BASE, self.rope), timesteps=levels)

    def remember(
        self, context: PackedContext, text: TextCondition, past: ContextMemory | None = None
    ) -> ContextMemory:
        """Keys and values of tokens that see themselves and `past`; see `Backbone`."""
        if context.timesteps is None:
            raise ValueError(
                "a context is remembered for every denoising step, so it needs timesteps of its own, got "
                "None; use context.timestep=zero"
            )
        x, count, call = context.tokens, context.tokens.shape[1], _call([context], text)
        modulation = self._modulation(self._embedded(context.timesteps, x))
        known = None if past is None else past.mask
        keys_mask = _joined(context.mask, count, known, 0 if past is None else past.keys[0].shape[2])
        mask = None
        if keys_mask is not None:  # a token that does not count still sees itself: a row of nothing is NaN
            itself = torch.eye(count, dtype=torch.bool, device=x.device)
            mask = keys_mask[:, None, None] | F.pad(itself, (keys_mask.shape[1] - count, 0))
        keys, values = [], []
        for index, block in enumerate(self.blocks):
            earlier = None if past is None else (past.keys[index], past.values[index])
            if index + 1 < self.depth:
                x, k, v = block(x, modulation, call, index, mask, earlier)
            else:
                assert isinstance(block, _Block)
                _, k, v = block.keys_and_values(x, modulation, call, index, earlier)
            keys.append(k)
            values.append(v)
        return ContextMemory(tuple(keys), tuple(values), keys_mask)

    def forward(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        attention_mask: Tensor | None = None,
        moments: Tensor | None = None,
    ) -> Tensor:
        """Predict for the noisy section ``b c t h w``; see `Backbone`."""
        rows, columns = noisy.shape[-2:]
        section = self.as_context(noisy, times, timesteps, moments)
        assert section.timesteps is not None
        x, count = section.tokens, section.tokens.shape[1]
        embedded = self._embedded(section.timesteps, x)
        modulation, mask = self._modulation(embedded), None
        memory = context if isinstance(context, ContextMemory) else None
        packed = context if isinstance(context, PackedContext) else None
        if memory is not None:
            mask = _joined(None, count, memory.mask, memory.keys[0].shape[2])
        if packed is not None:
            before = packed.tokens.shape[1]
            x = torch.cat((packed.tokens.to(x.dtype), x), 1)
            modulation = self._joint_modulation(packed, modulation, count)
            mask = _joined(None, count, packed.mask, before)
        mask = None if mask is None else mask[:, None, None]
        if attention_mask is not None:
            mask = attention_mask[:, None] if mask is None else mask & attention_mask[:, None]
        call = _call([section] if packed is None else [packed, section], text)
        for index, block in enumerate(self.blocks):
            earlier = None if memory is None else (memory.keys[index], memory.values[index])
            x, _, _ = block(x, modulation, call, index, mask, earlier)
        shift, scale = (embedded[..., None, :] + self.final_table).unbind(2)
        x = self.final(_normalise(x[:, -count:]) * (1 + scale) + shift)
        size = (-(-rows // BASE.h), -(-columns // BASE.w))
        x = rearrange(x, "b (t h w) (c p q) -> b c t (h p) (w q)", h=size[0], w=size[1], p=BASE.h, q=BASE.w)
        return x[..., :rows, :columns]

    def _embedded(self, timesteps: Tensor, like: Tensor) -> Tensor:
        embedded: Tensor = self.time(_time_features(timesteps).to(like.dtype))
        return embedded

    def _modulation(self, embedded: Tensor) -> Tensor:
        """``b 1|n 6 d``."""
        modulation: Tensor = self.modulation(embedded).unflatten(-1, (6, -1))
        return modulation

    def _joint_modulation(self, packed: PackedContext, section: Tensor, count: int) -> Tensor:
        """Modulation of [context, noisy] tokens, one for all where their timesteps are the same."""
        before = packed.tokens.shape[1]
        if packed.timesteps is None:
            if section.shape[1] == 1:
                return section
            raise ValueError(
                "noisy frames have timesteps of their own, so the context needs some too; use "
                "context.timestep=zero or level"
            )
        own = self._modulation(self._embedded(packed.timesteps, packed.tokens))
        return torch.cat((own.expand(-1, before, -1, -1), section.expand(-1, count, -1, -1)), 1)


@dataclass(frozen=True)
class _Call:
    """What every block needs beside its tokens.

    Attributes:
        phases: of the tokens.
        text: the caption.
        readers: so many of the last tokens attend to the caption.
        key_scales: factors of keys, ``depth heads n 1``; None for 1.
    """

    phases: Phases
    text: TextCondition
    readers: int
    key_scales: Tensor | None


def _call(parts: Sequence[PackedContext], text: TextCondition) -> _Call:
    """Of tokens in a row; only the first parts may leave the caption unread."""
    counts = [part.tokens.shape[1] for part in parts]
    joined = Phases(
        torch.cat([part.phases.cos for part in parts], 1), torch.cat([part.phases.sin for part in parts], 1)
    )
    readers = sum(count for part, count in zip(parts, counts, strict=True) if part.reads_text)
    scale = next((part.key_scale for part in parts if part.key_scale is not None), None)
    if scale is None:
        return _Call(joined, text, readers, None)
    scales = [torch.ones_like(scale) if part.key_scale is None else part.key_scale for part in parts]
    spread = [s[..., None].expand(*s.shape, count) for s, count in zip(scales, counts, strict=True)]
    return _Call(joined, text, readers, torch.cat(spread, 2)[..., None])


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
        self,
        x: Tensor,
        modulation: Tensor,
        call: _Call,
        index: int,
        mask: Tensor | None,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``b n d`` after the block, and the keys and values that they attended to."""
        q, k, v = self.keys_and_values(x, modulation, call, index, earlier)
        _, _, gate_a, shift_m, scale_m, gate_m = (modulation + self.table).unbind(2)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + gate_a * self.out(rearrange(attended, "b heads n d -> b n (heads d)"))
        if self.cross is not None and call.readers:
            x = self._read(x, call)
        hidden = self.up(_normalise(x) * (1 + scale_m) + shift_m)
        return x + gate_m * self.down(F.relu(hidden).square()), k, v

    def keys_and_values(
        self,
        x: Tensor,
        modulation: Tensor,
        call: _Call,
        index: int,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``b heads n d``, rotated; keys and values begin with the earlier ones."""
        shift, scale = (modulation[:, :, :2] + self.table[:2]).unbind(2)
        q, k, v = rearrange(
            self.qkv(_normalise(x) * (1 + scale) + shift),
            "b n (three heads d) -> three b heads n d",
            three=3,
            d=self.head_width,
        )
        q = rotate(_in_float32(self.query_norm, q), call.phases)
        k = rotate(_in_float32(self.key_norm, k), call.phases)
        if call.key_scales is not None:
            k = k * call.key_scales[index].to(k.dtype)
        if earlier is not None:
            k, v = (torch.cat(pair, 2) for pair in zip(earlier, (k, v), strict=True))
        return q, k, v

    def _read(self, x: Tensor, call: _Call) -> Tensor:
        """Cross-attention to the caption, for the last tokens alone where the context does not read it."""
        assert self.cross is not None
        if call.readers == x.shape[1]:
            return x + self.cross(_normalise(x), call.text)
        others, readers = x.tensor_split((x.shape[1] - call.readers,), 1)
        return torch.cat((others, readers + self.cross(_normalise(readers), call.text)), 1)


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


def _joined(own: Tensor | None, count: int, earlier: Tensor | None, before: int) -> Tensor | None:
    """Bool ``b n`` over [earlier, own] keys; None where all are to be attended to."""
    if own is None and earlier is None:
        return None
    if earlier is None:
        assert own is not None
        return F.pad(own, (before, 0), value=True)
    return F.pad(earlier, (0, count), value=True) if own is None else torch.cat((earlier, own), 1)
