"""Conditions of HunyuanVideo, and the parts that all denoising steps of a section share."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.shapes import PackedContext, TextCondition


@dataclass(frozen=True, kw_only=True)
class HunyuanCondition(TextCondition):
    """Words as the language model embeds them, and more.

    Attributes:
        pooled: embedding of the whole caption (CLIP), ``b p``.
        image: embedding of the first frame (SigLIP), ``b i e``; None for a model without image projection.
        guidance: 1000 * scale of the distilled guidance, ``b``; None for a model without it.
    """

    pooled: Tensor
    image: Tensor | None = None
    guidance: Tensor | None = None


@dataclass(frozen=True)
class HunyuanText:
    """Embeddings of a condition that do not depend on the noise level.

    Attributes:
        image: tokens ``b i d``; none without an image.
        words: tokens before the refiner ``b l d``, without what is padding in every item.
        words_mask: bool ``b l``; None when all are words.
        words_modulation: what the caption adds to the refiner's modulation, ``b d``.
        modulation: what caption and guidance add to the blocks' modulation, ``b d``.
    """

    image: Tensor
    words: Tensor
    words_mask: Tensor | None
    words_modulation: Tensor
    modulation: Tensor

    @property
    def count(self) -> int:
        """Tokens of image and words."""
        return self.image.shape[1] + self.words.shape[1]


@dataclass(frozen=True)
class HunyuanSection:
    """All that stays the same between the denoising steps of a section; see `HunyuanVideo.prepare`.

    Attributes:
        shape: frames, rows and columns of the noisy latents.
        context: tokens ``b n d``; None without history, or with a remembered one.
        earlier: per block the keys and values of a remembered history ``b heads m c``; None without one.
        key_scale: factors of the context's keys, ``depth heads n``; None for 1.
        phasors: cos + i sin of [context, noisy, text], complex64 ``b n 1 k``; 1 for the text.
        mask: what may be attended to, bool ``b 1 1 m+n``, or ``b 1 n m+n`` with a row per query; None: all.
        text: image and words.
        key_weights: of all keys, ``b m+n 1 1``; None for 1.
    """

    shape: tuple[int, int, int]
    context: Tensor | None
    earlier: tuple[tuple[Tensor, Tensor], ...] | None
    key_scale: Tensor | None
    phasors: Tensor
    mask: Tensor | None
    text: HunyuanText
    key_weights: Tensor | None = None


def without_padding(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Leave out what follows the last word of all items, and the mask if it then hides nothing."""
    if mask is None:
        return tokens, None
    words = mask.bool()[:, : int(mask.any(0).nonzero().max()) + 1]
    return tokens[:, : words.shape[1]], None if words.all() else words


def mean_word(words: Tensor, mask: Tensor | None) -> Tensor:
    """Average word, ``b d``."""
    if mask is None:
        return words.mean(1)
    weights = mask[..., None].float()
    return ((words * weights).sum(1) / weights.sum(1)).to(words.dtype)


def keys_mask(known: Tensor | None, count: int, text: HunyuanText) -> Tensor | None:
    """Mask ``b 1 1 n`` over `count` video tokens, of which the first may be unknown, and the text."""
    if known is None and text.words_mask is None:
        return None
    mask = text.words.new_ones(len(text.words), count + text.count, dtype=torch.bool)
    if known is not None:
        mask[:, : known.shape[1]] = known
    if text.words_mask is not None:
        mask[:, -text.words_mask.shape[1] :] = text.words_mask
    return mask[:, None, None]


def queries_mask(allowed: Tensor, keys: Tensor | None, text: HunyuanText) -> Tensor:
    """Mask ``b 1 n n`` where video tokens may see what is allowed, ``b m n``, and the text only itself.

    In one stream with the video, text that sees all of it would carry to any token what is hidden from it.

    Args:
        allowed: over video tokens; keys may begin with remembered ones.
        keys: from `keys_mask`; None for all.
        text: whose tokens come last, as queries and as keys.
    """
    items, queries, seen = allowed.shape
    mask = allowed.new_zeros(items, queries + text.count, seen + text.count)
    mask[:, :queries, :seen] = allowed
    mask[:, :, seen:] = True
    return mask[:, None] if keys is None else mask[:, None] & keys


def hides_text(context: PackedContext, noisy: int, keys: Tensor | None, text: HunyuanText) -> Tensor:
    """Mask ``b 1 n n`` in which the context does not look at the text; `keys` as in `queries_mask`."""
    count = context.tokens.shape[1]
    mask = context.tokens.new_ones(1, count + noisy + text.count, dtype=torch.bool)
    mask = mask[:, None].repeat(len(context.tokens), mask.shape[1], 1)
    mask[:, :count, count + noisy :] = False
    return mask[:, None] if keys is None else mask[:, None] & keys


def require_one_timestep(timesteps: Tensor) -> None:
    """Refuse timesteps per frame ``b t``.

    Raises:
        ValueError: they are not ``b``.
    """
    if timesteps.ndim != 1:
        raise ValueError(
            f"HunyuanVideo got timesteps {tuple(timesteps.shape)}, expected one per item: a block has one "
            "modulation for all tokens; Wan takes timesteps of frames of their own"
        )


def per_key(scale: Tensor, count: int) -> Tensor:
    """One factor per head, ``... heads``, for so many keys: ``... heads n``."""
    return scale[..., None].expand(*scale.shape, count)


def require_packable(context: PackedContext) -> PackedContext:
    """Refuse a context that cannot be in one sequence with a section.

    Raises:
        ValueError: it has timesteps of its own.
    """
    if context.timesteps is not None:
        raise ValueError(
            "HunyuanVideo got a context with timesteps of its own in one sequence with the section, expected "
            "context.timestep 'same', or 'zero' with context.attention 'isolated': a block has one "
            "modulation for all its tokens"
        )
    return context
