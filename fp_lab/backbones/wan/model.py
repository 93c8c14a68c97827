"""Wan behind the protocol, over the submodules and blocks of diffusers' transformer.

The transformer's own call knows one video from its first frame on; here the packer's tokens and phases stand
before the noisy section. The caption, and the given frame where a transformer takes one, are read by
cross-attention, so the sequence is [context, noisy]: masks, remembered contexts and timesteps per token are
exact.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fp_lab.backbones.key_weights import key_weights
from fp_lab.backbones.masks import joined
from fp_lab.backbones.patches import require_shape, unpatchify
from fp_lab.backbones.phasors import joint_phasors
from fp_lab.backbones.wan.attention import AttentionCall, AttentionCalls, PackedAttention, Words
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.backbones.wan.section import WanSection, joint_modulation, key_scales, spread
from fp_lab.packing.packer import ContextPacker, pad_to_kernel
from fp_lab.packing.rope import RopeConfig, phases
from fp_lab.recipe import BASE
from fp_lab.shapes import Caption, ContextMemory, PackedContext, TextCondition

THETA = 1e4
"""Base of the rotary frequencies, which diffusers' config does not hold."""


class Wan(nn.Module):
    """A transformer of diffusers as a `fp_lab.backbones.protocol.Backbone`, for text or image to video.

    Image-to-video transformers have more input than output channels: beside the noisy latents a mask of given
    frames and their latents. Given frames are packed history here, so only the weights of the noisy latents
    are used, as if mask and given latents were zero; all weights stay in the state dict.

    Attributes:
        texts: how captions become conditions; see `encode_text`.
    """

    texts: Callable[[Sequence[Caption]], WanCondition] | None = None

    def __init__(self, transformer: WanTransformer3DModel) -> None:
        """Wrap a module, whose own call still works.

        Args:
            transformer: its attention processors are replaced.

        Raises:
            ValueError: another patch than (1, 2, 2), or fewer input than output channels.
        """
        super().__init__()
        config = transformer.config
        if tuple(config.patch_size) != (BASE.t, BASE.h, BASE.w):
            raise ValueError(
                f"the transformer's patch is {tuple(config.patch_size)}, expected {(BASE.t, BASE.h, BASE.w)}"
            )
        if config.in_channels < config.out_channels:
            raise ValueError(
                f"the transformer has {config.in_channels} input channels, expected at least the "
                f"{config.out_channels} of its output"
            )
        self.transformer = transformer
        self.heads: int = config.num_attention_heads
        self.width: int = config.num_attention_heads * config.attention_head_dim
        self.channels: int = config.out_channels
        self.depth: int = config.num_layers
        # as diffusers' WanRotaryPosEmbed: (44, 42, 42) of 128, the remainder to time
        spatial = 2 * (config.attention_head_dim // 6)
        self.rope = RopeConfig(THETA, (config.attention_head_dim - 2 * spatial, spatial, spatial))
        for block in self.blocks:
            for attention in (block.attn1, block.attn2):
                processor = PackedAttention()
                processor._attention_backend = getattr(attention.processor, "_attention_backend", None)
                attention.set_processor(processor)

    @property
    def blocks(self) -> list[Any]:
        """All blocks."""
        return list(self.transformer.blocks)

    @property
    def patch(self) -> nn.Conv3d:
        """Projection of latents at the base kernel, for a packer to start from.

        It is the transformer's own, or for an image-to-video one a view of the part that reads noisy latents.
        """
        whole: nn.Conv3d = self.transformer.patch_embedding
        if whole.in_channels == self.channels:
            return whole
        part = nn.Conv3d(
            self.channels, self.width, (BASE.t, BASE.h, BASE.w), (BASE.t, BASE.h, BASE.w), device="meta"
        )
        part.weight = nn.Parameter(whole.weight.detach()[:, : self.channels], requires_grad=False)
        part.bias = None if whole.bias is None else nn.Parameter(whole.bias.detach(), requires_grad=False)
        return part

    def load_projections(self, packer: ContextPacker) -> None:
        """Nothing: no projections of clean frames were released with Wan."""

    def store_projections(self, packer: ContextPacker) -> None:
        """Nothing: the transformer has no place for projections of clean frames."""

    def encode_text(
        self, captions: Sequence[Caption], images: Tensor | None = None, guidance: float | None = None
    ) -> TextCondition:
        """Conditions of captions by `texts`, with embeddings of first frames; see `Backbone`.

        Wan's guidance is classifier-free, so a scale is not used.

        Raises:
            ValueError: nothing is set that encodes captions.
        """
        if self.texts is None:
            raise ValueError(
                f"Wan got {len(captions)} captions and nothing that encodes them, expected `texts` to be "
                "set; encoders are a model's of their own"
            )
        return replace(self.texts(captions), image=images)

    def as_context(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> PackedContext:
        """A section ``b c t h w`` as tokens with phases and timesteps; see `Backbone`."""
        tokens = self._tokens(noisy)
        phase = phases(times, noisy.shape[-2], noisy.shape[-1], BASE, rope or self.rope)
        per_token = timesteps[:, None] if timesteps.ndim == 1 else spread(timesteps, tokens.shape[1])
        return PackedContext(tokens, phase, timesteps=per_token)

    def remember(
        self, context: PackedContext, text: TextCondition, past: ContextMemory | None = None
    ) -> ContextMemory:
        """Keys and values of tokens that see themselves and `past`; see `Backbone`.

        Raises:
            ValueError: the context has no timesteps of its own, or see `prepare`.
        """
        if context.timesteps is None:
            raise ValueError(
                "a context is remembered for every denoising step, so it needs timesteps of its own, got "
                "None; use context.timestep=zero"
            )
        x = context.tokens.to(self._dtype)
        words = self._words(text, x.shape[1] if context.reads_text else 0)
        modulation = self._modulation(self._embedded(context.timesteps))
        # diffusers' block tells `b 6 d` from `b n 6 d`, timesteps of tokens (Wan 2.2), by the number of axes
        if modulation.shape[1] == 1:
            modulation = modulation[:, 0]
        before = 0 if past is None else past.keys[0].shape[2]
        mask = joined(None if past is None else past.mask, before, context.mask, x.shape[1])
        row = None if mask is None else mask[:, None, None]
        calls = AttentionCalls(joint_phasors([context.phases]), row, key_scales(context, 0), past)
        kept: list[tuple[Tensor, Tensor]] = []
        for index, block in enumerate(self.blocks):
            own: list[tuple[Tensor, Tensor]] = []
            x = self._through(block, x, words[index], modulation, calls.of_block(index, own))
            kept += own
        keys, values = zip(*kept, strict=True)
        return ContextMemory(keys, values, mask)

    def prepare(
        self,
        times: Tensor,
        size: tuple[int, int],
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> WanSection:
        """Compute what the denoising steps of a section share.

        Args:
            times: frame indices of the noisy frames, int64 ``b t``.
            size: rows and columns of the noisy latents.
            text: a `WanCondition`; without an image any `TextCondition` will do.
            context: packed context, or what was remembered of it; None without history.
            moments: not used by this model.
            rope: frequencies in place of the backbone's.

        Raises:
            ValueError: embeddings of another width, an image for a transformer that reads none, or none for
                one that does.
        """
        own = phases(times, size[0], size[1], BASE, rope or self.rope)
        count = readers = own.cos.shape[1]
        mask = None if context is None else context.mask
        mask = None if mask is None else F.pad(mask, (0, count), value=True)[:, None, None]
        tokens = modulation = None
        if isinstance(context, PackedContext):
            tokens, before = context.tokens.to(self._dtype), context.tokens.shape[1]
            readers = count + before if context.reads_text else count
            calls = AttentionCalls(joint_phasors([context.phases, own]), mask, key_scales(context, count))
            if context.timesteps is not None:
                modulation = spread(self._modulation(self._embedded(context.timesteps)), before)
        else:
            calls = AttentionCalls(joint_phasors([own]), mask, memory=context)
        weights = key_weights(None if context is None else context.key_bias, count)
        if weights is not None:
            calls = replace(calls, key_weights=weights[..., None, None])
        return WanSection((times.shape[1], *size), self._words(text, readers), calls, tokens, modulation)

    def denoise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        section: WanSection,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the velocity at one noise level, or one per frame.

        Args:
            noisy: ``b c t h w``.
            timesteps: 1000 * sigma, ``b`` or ``b t``.
            section: from `prepare`.
            attention_mask: bool ``b n n`` over [context, noisy]; with a memory ``b n m``, whose keys are
                [memory, noisy].

        Returns:
            ``b c t h w``.

        Raises:
            ValueError: latents of another shape than the section was prepared for, or timesteps per frame
                beside a context that has none of its own.
        """
        require_shape(noisy, section.shape)
        x = self._tokens(noisy)
        count = x.shape[1]
        embedded = self._embedded(timesteps[:, None] if timesteps.ndim == 1 else timesteps)
        modulation = joint_modulation(section, self._modulation(embedded), count)
        if section.context is not None:
            x = torch.cat((section.context, x), 1)
        calls = section.calls
        if attention_mask is not None:
            mask = attention_mask[:, None]
            calls = replace(calls, mask=mask if calls.mask is None else mask & calls.mask)
        for index, block in enumerate(self.blocks):
            x = self._through(block, x, section.words[index], modulation, calls.of_block(index))
        # in the solver's type: many small steps would be lost in the rounding of bfloat16
        return self._latents(x[:, -count:], embedded, section.shape).to(noisy.dtype)

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
        """Predict the velocity of the noisy section ``b c t h w``; see `Backbone`.

        Raises:
            ValueError: see `prepare` and `denoise`.
        """
        size = (noisy.shape[-2], noisy.shape[-1])
        section = self.prepare(times, size, text, context, moments)
        return self.denoise(noisy, timesteps, section, attention_mask)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.transformer.patch_embedding.weight.dtype
        return dtype

    def _tokens(self, noisy: Tensor) -> Tensor:
        """Tokens ``b n d`` of latents, whose channels are the first that the transformer reads."""
        patch = self.transformer.patch_embedding
        latents = pad_to_kernel(noisy.to(self._dtype), BASE)
        tokens = F.conv3d(latents, patch.weight[:, : self.channels], patch.bias, patch.stride)
        return tokens.flatten(2).transpose(1, 2).contiguous()

    def _latents(self, x: Tensor, embedded: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Latents ``b c t h w`` of a shape from noisy tokens ``b n d`` and their times ``b 1|t d``."""
        table = self.transformer.scale_shift_table + spread(embedded, x.shape[1])[:, :, None]
        shift, scale = table.unbind(2)
        # float32 as in diffusers, which keeps norms and scale_shift_table so in 16-bit models
        x = (self.transformer.norm_out(x.float()) * (1 + scale) + shift).type_as(x)
        return unpatchify(self.transformer.proj_out(x), shape, "p q c")

    def _through(
        self, block: Any, x: Tensor, words: Words, modulation: Tensor, call: AttentionCall
    ) -> Tensor:
        """Tokens ``b n d`` after a block."""
        saving = self.transformer.gradient_checkpointing and torch.is_grad_enabled()
        run = partial(checkpoint, block, use_reentrant=False) if saving else block
        after: Tensor = run(x, words, modulation, call)
        return after

    def _words(self, text: TextCondition, readers: int) -> tuple[Words, ...]:
        """Caption and image as tokens, which so many of the last tokens read, for every block."""
        embedder, config = self.transformer.condition_embedder, self.transformer.config
        image = text.image if isinstance(text, WanCondition) else None
        if text.tokens.shape[-1] != config.text_dim:
            raise ValueError(
                f"Wan got captions {tuple(text.tokens.shape)}, expected a last axis of the transformer's "
                f"text_dim {config.text_dim}"
            )
        if (image is None) != (config.image_dim is None):
            raise ValueError(
                f"Wan got {'no image' if image is None else f'an image {tuple(image.shape)}'}, expected "
                f"{'one in a WanCondition' if image is None else 'None'}: the transformer's image_dim is "
                f"{config.image_dim}"
            )
        tokens = embedder.text_embedder(text.tokens.to(self._dtype))
        mask = None if text.mask is None else text.mask[:, None, None]
        if image is not None:
            image = self._embedded_image(image.to(self._dtype))
        return tuple(Words(tokens, mask, image, readers) for _ in self.blocks)

    def _embedded_image(self, image: Tensor) -> Tensor:
        embedder = self.transformer.condition_embedder.image_embedder
        if embedder.pos_embed is not None:  # it counts first and last frame as items of the batch
            image = image.unflatten(1, (2, -1)).flatten(0, 1)
        embedded: Tensor = embedder(image)
        return embedded

    def _embedded(self, timesteps: Tensor) -> Tensor:
        """Embeddings ``b s d`` of timesteps ``b s``."""
        embedder = self.transformer.condition_embedder
        features = embedder.timesteps_proj(timesteps.flatten())
        features = features.to(next(embedder.time_embedder.parameters()).dtype)
        embedded: Tensor = embedder.time_embedder(features).to(self._dtype)
        return embedded.unflatten(0, timesteps.shape)

    def _modulation(self, embedded: Tensor) -> Tensor:
        """``b s 6 d``."""
        embedder = self.transformer.condition_embedder
        modulation: Tensor = embedder.time_proj(embedder.act_fn(embedded))
        return modulation.unflatten(-1, (6, -1))
