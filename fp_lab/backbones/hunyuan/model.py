"""HunyuanVideo behind the protocol, over the submodules of diffusers' transformers.

Those are the text-to-video model and FramePack, which adds an image projection. FramePack's own call packs a
history of three fixed levels at indices that the whole batch shares; here the packer's tokens and phases take
that place, so any schedule will do, and any indices per item. The joint sequence is [context, noisy, image,
words].
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import HunyuanVideoFramepackTransformer3DModel, HunyuanVideoTransformer3DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fp_lab.backbones.hunyuan.attention import JointAttention, PerItemPhases
from fp_lab.backbones.hunyuan.condition import (
    HunyuanCondition,
    HunyuanSection,
    HunyuanText,
    hides_text,
    keys_mask,
    mean_word,
    per_key,
    queries_mask,
    require_one_timestep,
    require_packable,
    without_padding,
)
from fp_lab.backbones.key_weights import key_weights
from fp_lab.backbones.masks import joined
from fp_lab.backbones.patches import require_shape, unpatchify
from fp_lab.backbones.phasors import joint_phasors
from fp_lab.packing.packer import ContextPacker, pad_to_kernel, projection_name
from fp_lab.packing.rope import RopeConfig, phases
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import Caption, ContextMemory, PackedContext, TextCondition

RELEASED_PROJECTIONS = {
    projection_name(kernel): name
    for name, kernel in (("proj", BASE), ("proj_2x", Kernel(2, 4, 4)), ("proj_4x", Kernel(4, 8, 8)))
}
"""Projections of a packer that the released weights hold, and their names there (`clean_x_embedder`)."""


class HunyuanVideo(nn.Module):
    """A HunyuanVideo transformer of diffusers as a `fp_lab.backbones.protocol.Backbone`.

    A block has one modulation per item, so timesteps per frame are refused; a remembered context has a
    timestep of its own, as it goes through the blocks before the section does.

    Attributes:
        texts: how captions become conditions; see `encode_text`.
    """

    texts: Callable[[Sequence[Caption]], HunyuanCondition] | None = None

    def __init__(
        self, transformer: HunyuanVideoFramepackTransformer3DModel | HunyuanVideoTransformer3DModel
    ) -> None:
        """Wrap a module, whose own call still works.

        Args:
            transformer: its attention processors are replaced. Its rope and clean_x_embedder are not used:
                the packer has their place, see `load_projections`.

        Raises:
            ValueError: another patch than (1, 2, 2), axes that do not fill a head, or a way to take an image
                that is not FramePack's.
        """
        super().__init__()
        config = transformer.config
        patch = (config.patch_size_t, config.patch_size, config.patch_size)
        if patch != (BASE.t, BASE.h, BASE.w):
            raise ValueError(f"the transformer's patch is {patch}, expected {(BASE.t, BASE.h, BASE.w)}")
        t, h, w = config.rope_axes_dim
        if t + h + w != config.attention_head_dim:
            raise ValueError(
                f"the transformer's rope_axes_dim {(t, h, w)} sum to {t + h + w}, expected its "
                f"attention_head_dim {config.attention_head_dim}"
            )
        if config.get("image_condition_type") is not None:
            raise ValueError(
                f"the transformer's image_condition_type is {config.image_condition_type!r}, expected None: "
                "start from the text-to-video model or from FramePack, the history gives the image"
            )
        self.transformer = transformer
        if (unused := getattr(transformer, "clean_x_embedder", None)) is not None:
            unused.requires_grad_(False)  # weights without gradients have no moments to resume from
        self.heads: int = config.num_attention_heads
        self.width: int = config.num_attention_heads * config.attention_head_dim
        self.channels: int = config.in_channels
        self.depth: int = config.num_layers + config.num_single_layers
        self.rope = RopeConfig(config.rope_theta, (t, h, w))
        for block in self.blocks:
            processor = PerItemPhases()
            processor._attention_backend = getattr(block.attn.processor, "_attention_backend", None)
            block.attn.set_processor(processor)

    @property
    def image_projection(self) -> Any:
        """Of the first frame's embedding; None for a transformer without one."""
        return getattr(self.transformer, "image_projection", None)

    @property
    def patch(self) -> nn.Conv3d:
        """Projection of noisy frames, which those of a context can start from."""
        projection: nn.Conv3d = self.transformer.x_embedder.proj
        return projection

    def load_projections(self, packer: ContextPacker) -> None:
        """Copy the released patch embedders of clean frames into a packer, as far as both have them."""
        for released, projection in self._released(packer):
            projection.load_state_dict(released.state_dict())

    def store_projections(self, packer: ContextPacker) -> None:
        """Copy a packer's projections to where the released ones are, for diffusers' own call."""
        for released, projection in self._released(packer):
            released.load_state_dict(projection.state_dict())

    def _released(self, packer: ContextPacker) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Pairs of a released projection and the packer's."""
        released = getattr(self.transformer, "clean_x_embedder", None)
        # other kernels of a schedule have no place in the released layout: they start by interpolation
        for name, projection in packer.projections.items():
            if released is not None and name in RELEASED_PROJECTIONS:
                yield released.get_submodule(RELEASED_PROJECTIONS[name]), projection

    def encode_text(
        self, captions: Sequence[Caption], images: Tensor | None = None, guidance: float | None = None
    ) -> TextCondition:
        """Conditions of captions by `texts`, with embeddings of first frames and guidance; see `Backbone`.

        Raises:
            ValueError: nothing is set that encodes captions.
        """
        if self.texts is None:
            raise ValueError(
                f"HunyuanVideo got {len(captions)} captions and nothing that encodes them, expected `texts` "
                "to be set; encoders are a model's of their own"
            )
        text = self.texts(captions)
        scale = None
        if guidance is not None and self.transformer.time_text_embed.guidance_embedder is not None:
            scale = torch.full((len(captions),), 1000 * guidance, device=text.tokens.device)
        return replace(text, image=images, guidance=scale)

    def as_context(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> PackedContext:
        """A section ``b c t h w`` as tokens with phases and timesteps; see `Backbone`.

        Raises:
            ValueError: timesteps per frame.
        """
        require_one_timestep(timesteps)
        phase = phases(times, noisy.shape[-2], noisy.shape[-1], BASE, rope or self.rope)
        return PackedContext(self._tokens(noisy), phase, timesteps=timesteps[:, None])

    def remember(
        self, context: PackedContext, text: TextCondition, past: ContextMemory | None = None
    ) -> ContextMemory:
        """Keys and values of tokens that see themselves, `past` and perhaps the text; see `Backbone`.

        The text beside them sees only itself. Blocks are not checkpointed here: what is kept needs gradients.

        Raises:
            ValueError: the context has no timesteps of its own, or several per item.
        """
        if context.timesteps is None or context.timesteps.shape[1] != 1:
            told = None if context.timesteps is None else tuple(context.timesteps.shape)
            raise ValueError(
                f"HunyuanVideo got a context to remember with timesteps {told}, expected one per item; use "
                "context.timestep=zero"
            )
        told_text = self._embedded(self._require_condition(text))
        x, timesteps = context.tokens.to(self._dtype), context.timesteps[:, 0].expand(len(context.tokens))
        words, modulation = self._at(timesteps, told_text)
        count, before = x.shape[1], 0 if past is None else past.keys[0].shape[2]
        known = joined(None if past is None else past.mask, before, context.mask, count)
        if context.reads_text:
            keys = keys_mask(known, before + count, told_text)
            mask = queries_mask(x.new_ones(len(x), count, before + count).bool(), keys, told_text)
        else:
            words = words[:, :1]  # blocks cannot do without text, so one hidden token stands for it
            seen = x.new_ones(len(x), before + count).bool() if known is None else known
            mask = F.pad(seen, (0, 1), value=False)[:, None, None]
        phasors = joint_phasors([context.phases], words.shape[1])
        keys_of, values_of = [], []
        for index, block in enumerate(self.blocks):
            earlier = None if past is None else (past.keys[index], past.values[index])
            scale = None if context.key_scale is None else per_key(context.key_scale[index], count)
            call = JointAttention(phasors, earlier, scale, keep=True)
            x, words = block(x, words, modulation, mask, call)
            key, value = call.kept
            keys_of.append(key)
            values_of.append(value)
        return ContextMemory(tuple(keys_of), tuple(values_of), known)

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
        return self.denoise(
            noisy, timesteps, self.prepare(times, size, text, context, moments), attention_mask
        )

    def prepare(
        self,
        times: Tensor,
        size: tuple[int, int],
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> HunyuanSection:
        """Compute what the denoising steps of a section share.

        Args:
            times: frame indices of the noisy frames, int64 ``b t``.
            size: rows and columns of the noisy latents.
            text: a `HunyuanCondition`.
            context: packed context, or what was remembered of it; None without history.
            moments: not used by this model.
            rope: frequencies in place of the backbone's.

        Raises:
            ValueError: a text that is no `HunyuanCondition`, image or guidance that does not fit the
                transformer, or a packed context with timesteps of its own.
        """
        told = self._embedded(self._require_condition(text))
        packed = require_packable(context) if isinstance(context, PackedContext) else None
        memory = context if isinstance(context, ContextMemory) else None
        noisy = phases(times, size[0], size[1], BASE, rope or self.rope)
        new, known, before = noisy.cos.shape[1], None, 0
        if packed is not None:
            known, before = packed.mask, packed.tokens.shape[1]
        elif memory is not None:
            known, before = memory.mask, memory.keys[0].shape[2]
        mask = keys_mask(known, before + new, told)
        if packed is not None and not packed.reads_text:
            mask = hides_text(packed, new, mask, told)
        scale = None if packed is None else packed.key_scale
        weights = key_weights(None if context is None else context.key_bias, new + told.count)
        return HunyuanSection(
            shape=(times.shape[1], *size),
            context=None if packed is None else packed.tokens.to(self._dtype),
            earlier=None if memory is None else tuple(zip(memory.keys, memory.values, strict=True)),
            key_scale=None if scale is None else per_key(scale, before),
            phasors=joint_phasors([noisy] if packed is None else [packed.phases, noisy], told.count),
            mask=mask,
            text=told,
            key_weights=None if weights is None else weights[..., None, None],
        )

    def denoise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        section: HunyuanSection,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the velocity at one noise level.

        Args:
            noisy: ``b c t h w``.
            timesteps: 1000 * sigma, ``b``.
            section: from `prepare`.
            attention_mask: bool ``b n n`` over [context, noisy]; image and words then see only themselves.

        Returns:
            ``b c t h w``.

        Raises:
            ValueError: timesteps per frame, or latents of another shape than the section was prepared for.
        """
        require_one_timestep(timesteps)
        require_shape(noisy, section.shape)
        text, modulation = self._at(timesteps, section.text)
        x = self._tokens(noisy)
        count = x.shape[1]
        if section.context is not None:
            x = torch.cat((section.context, x), 1)
        mask = section.mask
        if attention_mask is not None:
            mask = queries_mask(attention_mask, mask, section.text)
        saving = self.transformer.gradient_checkpointing and torch.is_grad_enabled()
        for index, block in enumerate(self.blocks):
            run = partial(checkpoint, block, use_reentrant=False) if saving else block
            earlier = None if section.earlier is None else section.earlier[index]
            scale = None if section.key_scale is None else section.key_scale[index]
            call = JointAttention(section.phasors, earlier, scale, key_weights=section.key_weights)
            x, text = run(x, text, modulation, mask, call)
        x = self.transformer.proj_out(self.transformer.norm_out(x[:, -count:], modulation))
        # in the solver's type: many small steps would be lost in the rounding of bfloat16
        return unpatchify(x, section.shape).to(noisy.dtype)

    def _embedded(self, text: HunyuanCondition) -> HunyuanText:
        """Embed the parts of a condition that do not depend on the noise level."""
        time_text, refiner = self.transformer.time_text_embed, self.transformer.context_embedder
        words, mask = without_padding(text.tokens.to(self._dtype), text.mask)
        modulation = time_text.text_embedder(text.pooled.to(self._dtype))
        if text.guidance is not None:
            guidance = time_text.time_proj(text.guidance).to(self._dtype)
            modulation = modulation + time_text.guidance_embedder(guidance)
        image = modulation.new_zeros(len(words), 0, self.width)
        if self.image_projection is not None and text.image is not None:
            image = self.image_projection(text.image.to(self._dtype))
        # the refiner has a modulation of its own, of timestep and mean word
        summary = refiner.time_text_embed.text_embedder(mean_word(words, mask))
        return HunyuanText(image, refiner.proj_in(words), mask, summary, modulation)

    def _at(self, timesteps: Tensor, text: HunyuanText) -> tuple[Tensor, Tensor]:
        """Image and words ``b l d``, and the blocks' modulation ``b d``, at timesteps ``b``."""
        time_text, refiner = self.transformer.time_text_embed, self.transformer.context_embedder
        time = time_text.time_proj(timesteps).to(self._dtype)
        # the refiner is modulated by the timestep, so words cannot be refined once for all steps
        words_modulation = refiner.time_text_embed.timestep_embedder(time) + text.words_modulation
        words = refiner.token_refiner(text.words, words_modulation, text.words_mask)
        return torch.cat((text.image, words), 1), time_text.timestep_embedder(time) + text.modulation

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.transformer.x_embedder.proj.weight.dtype
        return dtype

    @property
    def blocks(self) -> list[Any]:
        """Blocks of two streams, then those of one."""
        return [*self.transformer.transformer_blocks, *self.transformer.single_transformer_blocks]

    def _tokens(self, noisy: Tensor) -> Tensor:
        tokens: Tensor = self.transformer.x_embedder(pad_to_kernel(noisy.to(self._dtype), BASE))
        return tokens

    def _require_condition(self, text: TextCondition) -> HunyuanCondition:
        if not isinstance(text, HunyuanCondition):
            raise ValueError(f"HunyuanVideo got a {type(text).__name__}, expected a HunyuanCondition")
        if (self.transformer.time_text_embed.guidance_embedder is None) != (text.guidance is None):
            raise ValueError(
                f"got guidance {text.guidance}, expected {'one' if text.guidance is None else 'None'}: the "
                f"transformer has guidance_embeds {text.guidance is None}"
            )
        if (self.image_projection is None) != (text.image is None):
            came = None if text.image is None else tuple(text.image.shape)
            expected = "one of the first frame" if text.image is None else "None"
            raise ValueError(
                f"got an image embedding {came}, expected {expected}: the transformer has "
                f"{'no' if self.image_projection is None else 'an'} image projection"
            )
        return text
