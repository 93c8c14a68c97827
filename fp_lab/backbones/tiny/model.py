"""A compact diffusion transformer for experiments on one CPU.

adaLN with one shared modulation and a table per block (adaLN-single, https://arxiv.org/abs/2310.00426),
RMS-normalised queries and keys (https://arxiv.org/abs/2302.05442), squared ReLU
(https://arxiv.org/abs/2109.08668), rotary phases, text by cross-attention.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fp_lab.backbones.key_weights import key_weights
from fp_lab.backbones.masks import joined
from fp_lab.backbones.patches import require_shape, unpatchify
from fp_lab.backbones.protocol import BACKBONES
from fp_lab.backbones.tiny.blocks import (
    MOMENT_FEATURES,
    PLACE_FEATURES,
    TIME_FEATURES,
    Block,
    BlockCall,
    moment_features,
    normalise,
    place_features,
    time_features,
)
from fp_lab.backbones.tiny.words import WordEmbedding, WordsConfig
from fp_lab.checks.ranges import check_ranges
from fp_lab.packing.packer import pad_to_kernel, patchify
from fp_lab.packing.rope import RopeConfig, phases
from fp_lab.recipe import BASE
from fp_lab.shapes import Caption, ContextMemory, PackedContext, Phases, TextCondition


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
        sizes = ("channels", "width", "depth", "head_width", "mlp_ratio", "text_every")
        check_ranges("model.backbone", self, **dict.fromkeys(sizes, "[1, inf)"), theta="(0, inf)")
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


@dataclass(frozen=True)
class TinySection:
    """All that stays the same between the denoising steps of a section; see `TinyDiT.prepare`.

    Attributes:
        size: frames, rows and columns of the noisy latents.
        whereabouts: embedding of the noisy tokens' places and moments, ``b n d``.
        call: for the blocks.
        context: tokens ``b n d``; None without, or where it is remembered.
        modulation: of the context, ``b n 6 d``; None where it is that of the noisy tokens.
        memory: of an isolated context.
        mask: keys to attend to, bool ``b n``; None when all are.
    """

    size: tuple[int, int, int]
    whereabouts: Tensor
    call: BlockCall
    context: Tensor | None
    modulation: Tensor | None
    memory: ContextMemory | None
    mask: Tensor | None


@BACKBONES.register("tiny")
class TinyDiT(nn.Module):
    """The native backbone; see `fp_lab.backbones.protocol.Backbone` for its call."""

    def __init__(self, config: TinyDiTConfig) -> None:
        super().__init__()
        self.config = config
        self.width, self.channels, self.rope = config.width, config.channels, config.rope
        self.depth, self.heads = config.depth, config.width // config.head_width
        size = (BASE.t, BASE.h, BASE.w)
        self.embed = nn.Conv3d(config.channels, config.width, size, stride=size)
        self.place = nn.Linear(PLACE_FEATURES, config.width)
        self.moment = nn.Linear(MOMENT_FEATURES, config.width) if config.moments else None
        self.text = WordEmbedding(config.words, config.width)
        self.time = nn.Sequential(
            nn.Linear(TIME_FEATURES, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 6 * config.width))
        self.blocks = nn.ModuleList(
            Block(
                config.width,
                config.head_width,
                config.mlp_ratio * config.width,
                text=i % config.text_every == 0,
            )
            for i in range(config.depth)
        )
        self.final_table = nn.Parameter(torch.randn(2, config.width) / math.sqrt(config.width))
        self.final = nn.Linear(config.width, config.channels * BASE.volume)
        # the untrained model predicts 0, and a base without moments stays as it was until their weights learn
        for layer in (self.final, self.moment):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def encode_text(
        self, captions: Sequence[Caption], images: Tensor | None = None, guidance: float | None = None
    ) -> TextCondition:
        """Embed the words of captions; images and guidance say nothing to this model.

        Raises:
            ValueError: a caption that is an embedding.
        """
        texts = [caption for caption in captions if isinstance(caption, str)]
        if len(texts) < len(captions):
            raise ValueError(
                f"TinyDiT got {len(captions) - len(texts)} captions as embeddings, expected words: its "
                "embedding of them is learned; embeddings are for models over a transformer of diffusers"
            )
        condition: TextCondition = self.text(texts)
        return condition

    def as_context(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> PackedContext:
        """Tokens of a section ``b c t h w``; see `Backbone`."""
        rows, columns = noisy.shape[-2:]
        # with whereabouts, unlike a packed context: these frames are a section, only a finished one
        tokens = self._patches(noisy) + self._whereabouts(times, (rows, columns), moments)
        per_token = self._per_token(timesteps, tokens.shape[1])
        phase = phases(times, rows, columns, BASE, rope or self.rope)
        return PackedContext(tokens, phase, timesteps=per_token)

    def remember(
        self, context: PackedContext, text: TextCondition, past: ContextMemory | None = None
    ) -> ContextMemory:
        """Keys and values of tokens that see themselves and `past`; see `Backbone`."""
        if context.timesteps is None:
            raise ValueError(
                "a context is remembered for every denoising step, so it needs timesteps of its own, got "
                "None; use context.timestep=zero"
            )
        x, count = context.tokens, context.tokens.shape[1]
        call = self._call([context], [count], text)
        modulation = self._modulation(self._embedded(context.timesteps, x))
        known = None if past is None else past.mask
        keys_mask = joined(known, 0 if past is None else past.keys[0].shape[2], context.mask, count)
        mask = None if keys_mask is None else keys_mask[:, None, None]
        keys, values = [], []
        for index, block in enumerate(self.blocks):
            earlier = None if past is None else (past.keys[index], past.values[index])
            # nothing reads the tokens after the last block
            if index + 1 < self.depth:
                x, k, v = block(x, modulation, call, index, mask, earlier)
            else:
                assert isinstance(block, Block)
                _, k, v = block.keys_and_values(x, modulation, call, index, earlier)
            keys.append(k)
            values.append(v)
        return ContextMemory(tuple(keys), tuple(values), keys_mask)

    def prepare(
        self,
        times: Tensor,
        size: tuple[int, int],
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> TinySection:
        """Phases, whereabouts, the caption's keys and values, the context; see `Backbone`."""
        whereabouts = self._whereabouts(times, size, moments)
        count = whereabouts.shape[1]
        packed = context if isinstance(context, PackedContext) else None
        memory = context if isinstance(context, ContextMemory) else None
        own = PackedContext(whereabouts, phases(times, size[0], size[1], BASE, rope or self.rope))
        parts = [own] if packed is None else [packed, own]
        counts = [part.tokens.shape[1] for part in parts]
        # of a context with a timestep of its own here; `same` follows the section's and is made at every step
        modulation = None
        if packed is not None and packed.timesteps is not None:
            told = self._modulation(self._embedded(packed.timesteps, packed.tokens))
            modulation = told.expand(-1, counts[0], -1, -1)
        before = packed.mask if packed is not None else memory.mask if memory is not None else None
        first = counts[0] if packed is not None else memory.keys[0].shape[2] if memory is not None else 0
        weights = key_weights(None if context is None else context.key_bias, count)
        return TinySection(
            size=(times.shape[1], *size),
            whereabouts=whereabouts,
            call=replace(
                self._call(parts, counts, text),
                key_weights=None if weights is None else weights[:, None, :, None],
            ),
            context=None if packed is None else packed.tokens.to(whereabouts.dtype),
            modulation=modulation,
            memory=memory,
            mask=joined(before, first, None, count),
        )

    def denoise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        section: TinySection,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict ``b c t h w`` at one noise level, or one per frame; see `Backbone`."""
        require_shape(noisy, section.size)
        x = self._patches(noisy) + section.whereabouts
        count = x.shape[1]
        embedded = self._embedded(self._per_token(timesteps, count), x)
        modulation = self._modulation(embedded)
        if section.context is not None:
            # context tokens go through all blocks again: they attend to the noisy ones
            x = torch.cat((section.context, x), 1)
            modulation = _joint_modulation(section.modulation, modulation, count)
        mask = None if section.mask is None else section.mask[:, None, None]
        if attention_mask is not None:
            mask = attention_mask[:, None] if mask is None else mask & attention_mask[:, None]
        memory = section.memory
        for index, block in enumerate(self.blocks):
            earlier = None if memory is None else (memory.keys[index], memory.values[index])
            x, _, _ = block(x, modulation, section.call, index, mask, earlier)
        shift, scale = (embedded[..., None, :] + self.final_table).unbind(2)
        x = self.final(normalise(x[:, -count:]) * (1 + scale) + shift)
        return unpatchify(x, section.size)

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
        size = (noisy.shape[-2], noisy.shape[-1])
        section = self.prepare(times, size, text, context, moments)
        return self.denoise(noisy, timesteps, section, attention_mask)

    def _patches(self, latents: Tensor) -> Tensor:
        return patchify(self.embed, pad_to_kernel(latents, BASE))

    def _whereabouts(self, times: Tensor, size: tuple[int, int], moments: Tensor | None) -> Tensor:
        """What is added to tokens for where they lie in the view and in their section, ``b n d``."""
        rows, columns = -(-size[0] // BASE.h), -(-size[1] // BASE.w)
        place = self.place(place_features(rows, columns, self.place.weight)).repeat(times.shape[1], 1)
        if self.moment is None:
            return place.expand(len(times), -1, -1)
        moments = times - times[:, :1] if moments is None else moments
        moment = self.moment(moment_features(moments).to(place.dtype))
        return place + moment.repeat_interleave(rows * columns, 1)

    def _per_token(self, timesteps: Tensor, count: int) -> Tensor:
        """Timesteps ``b`` or ``b t`` as ``b 1`` or ``b n``."""
        if timesteps.ndim == 1:
            return timesteps[:, None]
        return timesteps.repeat_interleave(count // timesteps.shape[1], 1)

    def _call(self, parts: Sequence[PackedContext], counts: Sequence[int], text: TextCondition) -> BlockCall:
        """For tokens in a row; only the first parts may leave the caption unread."""
        cos = torch.cat([part.phases.cos for part in parts], 1)
        sin = torch.cat([part.phases.sin for part in parts], 1)
        readers = sum(count for part, count in zip(parts, counts, strict=True) if part.reads_text)
        scale = next((part.key_scale for part in parts if part.key_scale is not None), None)
        scales = None
        if scale is not None:
            each = [torch.ones_like(scale) if part.key_scale is None else part.key_scale for part in parts]
            spread = [s[..., None].expand(*s.shape, n) for s, n in zip(each, counts, strict=True)]
            scales = torch.cat(spread, 2)[..., None]
        crosses = [block.cross for block in self.blocks if isinstance(block, Block)]
        words = tuple(None if cross is None else cross.words(text) for cross in crosses)
        return BlockCall(Phases(cos, sin), words, readers, scales)

    def _embedded(self, timesteps: Tensor, like: Tensor) -> Tensor:
        embedded: Tensor = self.time(time_features(timesteps).to(like.dtype))
        return embedded

    def _modulation(self, embedded: Tensor) -> Tensor:
        """``b 1|n 6 d``."""
        modulation: Tensor = self.modulation(embedded).unflatten(-1, (6, -1))
        return modulation


def _joint_modulation(context: Tensor | None, section: Tensor, count: int) -> Tensor:
    """Modulation ``b n 6 d`` of [context, noisy] tokens; one for all where their timesteps are the same."""
    if context is not None:
        return torch.cat((context, section.expand(-1, count, -1, -1)), 1)
    if section.shape[1] == 1:
        return section
    raise ValueError(
        "noisy frames have timesteps of their own, so the context needs some too; use context.timestep=zero "
        "or level"
    )
