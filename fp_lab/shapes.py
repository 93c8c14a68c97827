"""Axis legend and the named results that rooms hand to each other.

Axes: ``b`` batch, ``c`` channels, ``t`` frames, ``h`` rows, ``w`` columns, ``n`` tokens, ``d`` width,
``l`` words, ``k`` rotary pairs of a head. Latents are ``b c t h w``; "frame" means latent frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.recipe import Kernel, Tail


@dataclass(frozen=True)
class Phases:
    """Rotary phases of tokens, float32; not unit phasors where they were pooled.

    Attributes:
        cos: ``b n k``, or ``b n heads k`` where heads differ.
        sin: of the same shape.
    """

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True)
class ContextLevel:
    """The frames of one level of the context, before projection.

    Attributes:
        kernel: latent frames, rows and columns per token.
        latents: ``b c t h w``; where fewer frames are known than fit, they come first, the last repeated.
            Of a tail ``tc`` the average frame ``b c 1 h w``; of a tail ``ta`` frames average-pooled by 32.
        times: frame indices, int64 ``b t``; of a tail those of all its frames.
        known: bool ``b t``; a token counts if any of its frames is known.
        tail: which tail this is, None for a level of the name.
        size: rows and columns of a whole frame, where `latents` are pooled.
    """

    kernel: Kernel
    latents: Tensor
    times: Tensor
    known: Tensor
    tail: Tail | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class PackedSample:
    """One training sample or one call of the sampler.

    Attributes:
        times: frame indices of the section, int64 ``b t``.
        context: one entry per level, then the tails.
        target: clean latents of the section ``b c t h w``.
    """

    times: Tensor
    context: tuple[ContextLevel, ...]
    target: Tensor


@dataclass(frozen=True)
class PackedContext:
    """Tokens beside the noisy section, as the backbone sees them.

    Attributes:
        tokens: ``b n d``.
        phases: of the tokens.
        mask: bool ``b n``, True for tokens to attend to; None when all are.
        timesteps: 1000 * noise level, ``b n`` or ``b 1``; None: the same as of the noisy section.
        reads_text: whether the tokens attend to the caption.
        key_scale: factors of the tokens' keys, ``depth heads``; None for 1.
        frames: mean index of the frames that each token is of, as its phases have it, float32 ``b n``; None
            of a packer that does not tell.
        key_bias: what the softmax adds to the logits of the tokens' keys, ``b n``; None for 0.
    """

    tokens: Tensor
    phases: Phases
    mask: Tensor | None = None
    timesteps: Tensor | None = None
    reads_text: bool = True
    key_scale: Tensor | None = None
    frames: Tensor | None = None
    key_bias: Tensor | None = None


@dataclass(frozen=True)
class ContextMemory:
    """Keys and values of a context that does not see the noisy section: exact for every denoising step.

    Attributes:
        keys: per block ``b heads n k``, rotated and scaled.
        values: per block ``b heads n k``.
        mask: bool ``b n``, True for tokens to attend to; None when all are.
        key_bias: what the softmax adds to the logits of the keys, ``b n``; None for 0. Keys and values were
            made without it.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None = None
    key_bias: Tensor | None = None


@dataclass(frozen=True)
class TextCondition:
    """Encoded captions.

    Attributes:
        tokens: ``b l d``.
        mask: bool ``b l``, True for words, at least one per caption; None when all are.
    """

    tokens: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class EncodedText:
    """One caption as the text encoders of a real model make it, without padding.

    Attributes:
        words: embeddings of its tokens, ``l e``, at least one.
        pooled: embedding of the whole caption, ``p``; None where the model is told none.
    """

    words: Tensor
    pooled: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name, to be stored."""
        return {"words": self.words} if self.pooled is None else {"words": self.words, "pooled": self.pooled}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "EncodedText":
        """From stored `tensors`; others are left out."""
        return cls(tensors["words"], tensors.get("pooled"))

    def to(self, device: torch.device | str) -> "EncodedText":
        """The same on a device; lightning moves a batch by this."""
        return EncodedText.of({name: tensor.to(device) for name, tensor in self.tensors.items()})


IMAGE = "image"
"""Name of the first frame's embedding ``i e`` where it is stored beside `EncodedText.tensors`."""
Caption = str | EncodedText
"""A caption, or what text encoders have already made of it."""
