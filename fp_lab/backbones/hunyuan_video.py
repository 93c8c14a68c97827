"""HunyuanVideo behind the protocol, over the submodules of diffusers' FramePack transformer.

The transformer's own call packs a history of three fixed levels at indices that the whole batch shares; here
the packer's tokens and phases take that place, so any schedule will do, and any indices per item. The joint
sequence is [context, noisy, image, words].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import HunyuanVideoFramepackTransformer3DModel
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fp_lab.backbones.hunyuan_attention import PerItemPhases
from fp_lab.packing.packer import ContextPacker, pad_to_kernel, projection_name
from fp_lab.packing.rope import RopeConfig, phases
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextMemory, PackedContext, TextCondition

RELEASED_PROJECTIONS = {
    projection_name(kernel): name
    for name, kernel in (("proj", BASE), ("proj_2x", Kernel(2, 4, 4)), ("proj_4x", Kernel(4, 8, 8)))
}
"""Projections of a packer that the released weights hold, and their names there (`clean_x_embedder`)."""


@dataclass(frozen=True, kw_only=True)
class HunyuanCondition(TextCondition):
    """What the model is told beside the words.

    Attributes:
        pooled: embedding of the whole caption (CLIP), ``b p``.
        image: embedding of the first frame (SigLIP), ``b i e``.
        guidance: 1000 * scale of the distilled guidance, ``b``; None for a model without it.
    """

    pooled: Tensor
    image: Tensor
    guidance: Tensor | None = None


@dataclass(frozen=True)
class HunyuanSection:
    """All that stays the same between the denoising steps of a section; see `HunyuanVideo.prepare`.

    Attributes:
        shape: frames, rows and columns of the noisy latents.
        context: tokens ``b n d``; None without history.
        phasors: cos + i sin of the joint sequence, complex64 ``b n 1 k``; 1 for image and words.
        mask: tokens of the joint sequence to attend to, bool ``b 1 1 n``; None when all are.
        image: tokens ``b i d``.
        words: tokens before the refiner ``b l d``, without what is padding in every item.
        words_mask: bool ``b l``; None when all are words.
        words_modulation: what the caption adds to the refiner's modulation, ``b d``.
        modulation: what caption and guidance add to the blocks' modulation, ``b d``.
    """

    shape: tuple[int, int, int]
    context: Tensor | None
    phasors: Tensor
    mask: Tensor | None
    image: Tensor
    words: Tensor
    words_mask: Tensor | None
    words_modulation: Tensor
    modulation: Tensor


class HunyuanVideo(nn.Module):
    """A FramePack transformer of diffusers as a `fp_lab.backbones.protocol.Backbone`.

    Attention masks, remembered contexts and timesteps of some tokens' own are refused: image and words are in
    one stream with the video and would carry what a mask hides, and a block has one modulation per item.
    """

    def __init__(self, transformer: HunyuanVideoFramepackTransformer3DModel) -> None:
        """Wrap a module, whose own call still works.

        Args:
            transformer: its attention processors are replaced. Its rope and clean_x_embedder are not used:
                the packer has their place, see `load_projections`.

        Raises:
            ValueError: another patch than (1, 2, 2), axes that do not fill a head, no image projection.
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
        if transformer.image_projection is None:
            raise ValueError("the transformer has no image projection, expected has_image_proj: true")
        self.transformer = transformer
        self.heads: int = config.num_attention_heads
        self.width: int = config.num_attention_heads * config.attention_head_dim
        self.channels: int = config.in_channels
        self.depth: int = config.num_layers + config.num_single_layers
        self.rope = RopeConfig(config.rope_theta, (t, h, w))
        for block in self.blocks:
            processor = PerItemPhases()
            processor._attention_backend = getattr(block.attn.processor, "_attention_backend", None)
            block.attn.set_processor(processor)

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> "HunyuanVideo":
        """Load weights.

        Args:
            source: a folder in diffusers' format, or a hub id such as ``lllyasviel/FramePackI2V_HY``.
            options: of diffusers' `from_pretrained`, such as ``torch_dtype``.
        """
        return cls(HunyuanVideoFramepackTransformer3DModel.from_pretrained(source, **options))

    def load_projections(self, packer: ContextPacker) -> None:
        """Copy the released patch embedders of clean frames into a packer.

        Raises:
            ValueError: the transformer has none, or the packer has a kernel that was not released.
        """
        released = self.transformer.clean_x_embedder
        if released is None:
            raise ValueError("the transformer has no clean_x_embedder, expected has_clean_x_embedder: true")
        if unknown := sorted(set(packer.projections) - set(RELEASED_PROJECTIONS)):
            raise ValueError(
                f"the packer has projections {unknown}, released are {sorted(RELEASED_PROJECTIONS)}; "
                "initialise others from transformer.x_embedder.proj"
            )
        for name, projection in packer.projections.items():
            projection.load_state_dict(released.get_submodule(RELEASED_PROJECTIONS[name]).state_dict())

    def encode_text(self, captions: Sequence[str]) -> TextCondition:
        """Refuse: there are no text encoders here yet.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"HunyuanVideo got {len(captions)} captions and has no text encoders yet, expected a "
            "HunyuanCondition with embeddings from the caller"
        )

    def as_context(
        self, noisy: Tensor, times: Tensor, timesteps: Tensor, moments: Tensor | None = None
    ) -> PackedContext:
        """A section ``b c t h w`` as tokens with phases and timesteps; see `Backbone`.

        Raises:
            ValueError: timesteps per frame.
        """
        _require_one_timestep(timesteps)
        phase = phases(times, noisy.shape[-2], noisy.shape[-1], BASE, self.rope)
        return PackedContext(self._tokens(noisy), phase, timesteps=timesteps[:, None])

    def remember(
        self, context: PackedContext, text: TextCondition, past: ContextMemory | None = None
    ) -> ContextMemory:
        """Refuse: isolated contexts are for the tiny backbone until this adapter is complete.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"HunyuanVideo got {context.tokens.shape[1]} tokens to remember, expected a context with full "
            "attention: isolated contexts are for the tiny backbone"
        )

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
    ) -> HunyuanSection:
        """Compute what the denoising steps of a section share.

        Args:
            times: frame indices of the noisy frames, int64 ``b t``.
            size: rows and columns of the noisy latents.
            text: a `HunyuanCondition`.
            context: packed context; None without history.
            moments: say nothing to this model.

        Raises:
            ValueError: a text that is no `HunyuanCondition`, guidance that does not fit the transformer, or a
                context with options that it cannot follow.
        """
        text = self._require_condition(text)
        context = _require_plain(context)
        time_text, refiner = self.transformer.time_text_embed, self.transformer.context_embedder
        words, words_mask = _without_padding(text.tokens.to(self._dtype), text.mask)
        image = self.transformer.image_projection(text.image.to(self._dtype))
        modulation = time_text.text_embedder(text.pooled.to(self._dtype))
        if text.guidance is not None:
            guidance = time_text.time_proj(text.guidance).to(self._dtype)
            modulation = modulation + time_text.guidance_embedder(guidance)
        noisy = phases(times, size[0], size[1], BASE, self.rope)
        parts = [noisy] if context is None else [context.phases, noisy]
        still = (0, 0, 0, image.shape[1] + words.shape[1])
        cos = F.pad(torch.cat([part.cos for part in parts], 1), still, value=1.0)
        sin = F.pad(torch.cat([part.sin for part in parts], 1), still)
        return HunyuanSection(
            shape=(times.shape[1], *size),
            context=None if context is None else context.tokens.to(self._dtype),
            phasors=torch.complex(cos, sin)[:, :, None],
            mask=_joint_mask(None if context is None else context.mask, words_mask, cos.shape[1]),
            image=image,
            words=refiner.proj_in(words),
            words_mask=words_mask,
            words_modulation=refiner.time_text_embed.text_embedder(_mean(words, words_mask)),
            modulation=modulation,
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
            attention_mask: refused.

        Returns:
            ``b c t h w``.

        Raises:
            ValueError: timesteps per frame, latents of another shape than the section was prepared for, or an
                attention mask.
        """
        if attention_mask is not None:
            raise ValueError(
                f"HunyuanVideo got an attention mask {tuple(attention_mask.shape)}, expected None: image and "
                "words are in one stream with the video and would carry what it hides"
            )
        _require_one_timestep(timesteps)
        if tuple(noisy.shape[2:]) != section.shape:
            raise ValueError(
                f"got noisy latents of {tuple(noisy.shape[2:])} frames, rows and columns, expected "
                f"{section.shape}, which the section was prepared for"
            )
        time_text, refiner = self.transformer.time_text_embed, self.transformer.context_embedder
        time = time_text.time_proj(timesteps).to(self._dtype)
        modulation = time_text.timestep_embedder(time) + section.modulation
        words_modulation = refiner.time_text_embed.timestep_embedder(time) + section.words_modulation
        words = refiner.token_refiner(section.words, words_modulation, section.words_mask)
        text = torch.cat((section.image, words), 1)
        x = self._tokens(noisy)
        count = x.shape[1]
        if section.context is not None:
            x = torch.cat((section.context, x), 1)
        saving = self.transformer.gradient_checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            run = partial(checkpoint, block, use_reentrant=False) if saving else block
            x, text = run(x, text, modulation, section.mask, section.phasors)
        x = self.transformer.proj_out(self.transformer.norm_out(x[:, -count:], modulation))
        frames, rows, columns = section.shape
        grid = {"t": frames, "h": -(-rows // BASE.h), "w": -(-columns // BASE.w)}
        x = rearrange(x, "b (t h w) (c p q) -> b c t (h p) (w q)", **grid, p=BASE.h, q=BASE.w)
        return x[..., :rows, :columns].to(noisy.dtype)

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
        return text


def _without_padding(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Leave out what follows the last word of all items, and the mask if it then hides nothing."""
    if mask is None:
        return tokens, None
    words = mask.bool()[:, : int(mask.any(0).nonzero().max()) + 1]
    return tokens[:, : words.shape[1]], None if words.all() else words


def _mean(words: Tensor, mask: Tensor | None) -> Tensor:
    """Average word, ``b d``."""
    if mask is None:
        return words.mean(1)
    weights = mask[..., None].float()
    return ((words * weights).sum(1) / weights.sum(1)).to(words.dtype)


def _joint_mask(context: Tensor | None, words: Tensor | None, count: int) -> Tensor | None:
    """Mask ``b 1 1 n`` of `count` tokens, of which the context are the first and the words the last."""
    known = context if context is not None else words
    if known is None:
        return None
    mask = known.new_ones(len(known), count)
    if context is not None:
        mask[:, : context.shape[1]] = context
    if words is not None:
        mask[:, -words.shape[1] :] = words
    return mask[:, None, None]


def _require_one_timestep(timesteps: Tensor) -> None:
    if timesteps.ndim != 1:
        raise ValueError(
            f"HunyuanVideo got timesteps {tuple(timesteps.shape)}, expected one per item: a block has one "
            "modulation for all tokens"
        )


def _require_plain(context: PackedContext | ContextMemory | None) -> PackedContext | None:
    if isinstance(context, ContextMemory):
        raise ValueError("HunyuanVideo got a ContextMemory, expected a PackedContext or None")
    if context is None:
        return None
    wrong = [] if context.timesteps is None else ["timesteps of its own"]
    wrong += [] if context.reads_text else ["no view of the caption"]
    wrong += [] if context.key_scale is None else ["scaled keys"]
    if wrong:
        raise ValueError(
            f"HunyuanVideo got a context with {' and '.join(wrong)}, expected context.timestep 'same', "
            "context.text 'all' and no context.amplify: its blocks treat all video tokens alike"
        )
    return context
