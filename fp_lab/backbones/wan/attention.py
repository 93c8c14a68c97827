"""Attention of Wan's blocks over packed tokens.

diffusers' block hands on untouched what it is given as rotary embedding (to its self-attention) and as text
(to its cross-attention). So two small objects travel there to an attention processor, diffusers' way to plug
in another attention: `AttentionCall` and `Words`. Each block gets its own, and nothing inside tells blocks
apart, so that compiled blocks share their code.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor

from fp_lab.backbones.key_weights import attend
from fp_lab.backbones.phasors import rotate_pairs
from fp_lab.shapes import ContextMemory


@dataclass(frozen=True)
class AttentionCall:
    """What the self-attention of one block needs beside its tokens.

    Attributes:
        phasors: cos + i sin of the tokens, complex64 ``b n 1 k``.
        mask: of earlier tokens and these, bool ``b 1 1 n`` or ``b 1 q n``; None when all are seen.
        key_scale: factors of the tokens' keys, ``n heads 1``; None for 1.
        earlier: keys and values before these, ``b heads n k``; None without.
        kept: takes the keys and values that were attended to, ``b heads n k``; None to let go of them.
        key_weights: of earlier keys and these, ``b n 1 1``; None for 1.
    """

    phasors: Tensor
    mask: Tensor | None
    key_scale: Tensor | None
    earlier: tuple[Tensor, Tensor] | None
    kept: list[tuple[Tensor, Tensor]] | None
    key_weights: Tensor | None = None


@dataclass(frozen=True)
class AttentionCalls:
    """What the self-attention of all blocks needs beside their tokens.

    Attributes:
        phasors: as in a call.
        mask: as in a call.
        key_scales: of all blocks, ``depth n heads 1``; None for 1.
        memory: keys and values before these; None without.
        key_weights: as in a call.
    """

    phasors: Tensor
    mask: Tensor | None
    key_scales: Tensor | None = None
    memory: ContextMemory | None = None
    key_weights: Tensor | None = None

    def of_block(self, index: int, kept: list[tuple[Tensor, Tensor]] | None = None) -> AttentionCall:
        """The call for one block."""
        scale = None if self.key_scales is None else self.key_scales[index]
        memory = self.memory
        earlier = None if memory is None else (memory.keys[index], memory.values[index])
        return AttentionCall(self.phasors, self.mask, scale, earlier, kept, self.key_weights)


@dataclass(frozen=True)
class KeysValues:
    """Keys and values that queries attend to, and their mask.

    Attributes:
        keys: ``b n heads k``.
        values: ``b n heads k``.
        mask: bool ``b 1 1 n`` or ``b 1 q n``; None when all are seen.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None


@dataclass
class Words:
    """What the cross-attention of one block reads in every denoising step of a section.

    Attributes:
        tokens: of the caption ``b l d``.
        mask: bool ``b 1 1 l``; None when all are words.
        image: tokens ``b i d``; None without.
        readers: number of tokens, counted from the end, that read.
        made: keys and values of caption and image, once they were made without gradients.
    """

    tokens: Tensor
    mask: Tensor | None
    image: Tensor | None
    readers: int
    made: tuple[KeysValues, ...] | None = None


class PackedAttention(WanAttnProcessor):  # type: ignore[misc]  # diffusers is not typed
    """Attention processor of both attentions; given diffusers' own arguments it is diffusers' own."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        rotary_emb: Any = None,
    ) -> Tensor:
        """Attend.

        Args:
            attn: diffusers' attention module.
            hidden_states: tokens ``b n d``.
            encoder_hidden_states: `Words` for cross-attention; else see diffusers.
            attention_mask: see diffusers, whose block gives none.
            rotary_emb: an `AttentionCall` for self-attention; else see diffusers.

        Returns:
            ``b n d``.
        """
        if isinstance(rotary_emb, AttentionCall):
            return self._among(attn, hidden_states, rotary_emb)
        if isinstance(encoder_hidden_states, Words):
            return self._read(attn, hidden_states, encoder_hidden_states)
        own: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        return own

    def _among(self, attn: Any, x: Tensor, call: AttentionCall) -> Tensor:
        """Attend to remembered tokens and these."""
        q = rotate_pairs(_heads(attn.norm_q(attn.to_q(x)), attn), call.phasors)
        k = rotate_pairs(_heads(attn.norm_k(attn.to_k(x)), attn), call.phasors)
        v = _heads(attn.to_v(x), attn)
        if call.key_scale is not None:
            k = k * call.key_scale.to(k.dtype)
        # behind the scaling: remembered keys have theirs
        if call.earlier is not None:
            keys, values = call.earlier
            k, v = torch.cat((keys.transpose(1, 2), k), 1), torch.cat((values.transpose(1, 2), v), 1)
        if call.kept is not None and not call.kept:  # gradient checkpointing comes here twice
            call.kept.append((k.transpose(1, 2), v.transpose(1, 2)))
        return _out(attn, self._seen(q, KeysValues(k, v, call.mask), call.key_weights))

    def _read(self, attn: Any, x: Tensor, words: Words) -> Tensor:
        """Attend to the caption and, apart, to the image; what does not read gets zeros."""
        if not words.readers:
            return torch.zeros_like(x)
        others = x.shape[1] - words.readers
        q = _heads(attn.norm_q(attn.to_q(x[:, others:])), attn)
        caption, *image = (self._seen(q, source) for source in self._sources(attn, words))
        read = _out(attn, sum(image, caption))
        return F.pad(read, (0, 0, others, 0)) if others else read

    def _sources(self, attn: Any, words: Words) -> tuple[KeysValues, ...]:
        """Caption, then image: made where sharded or offloaded weights are, without gradients only once."""
        learning = torch.is_grad_enabled()
        if words.made is not None and not learning:
            return words.made
        k, v = attn.norm_k(attn.to_k(words.tokens)), attn.to_v(words.tokens)
        sources = [KeysValues(_heads(k, attn), _heads(v, attn), words.mask)]
        if words.image is not None:
            k, v = attn.norm_added_k(attn.add_k_proj(words.image)), attn.add_v_proj(words.image)
            sources.append(KeysValues(_heads(k, attn), _heads(v, attn)))
        if not learning:
            words.made = tuple(sources)
        return tuple(sources)

    def _seen(self, q: Tensor, source: KeysValues, weights: Tensor | None = None) -> Tensor:
        """Values ``b q d`` that queries ``b q heads k`` take."""
        kernel = partial(dispatch_attention_fn, attn_mask=source.mask, backend=self._attention_backend)
        return attend(kernel, q, source.keys, source.values, weights).flatten(2).type_as(q)


def _heads(x: Tensor, attn: Any) -> Tensor:
    return x.unflatten(2, (attn.heads, -1))


def _out(attn: Any, x: Tensor) -> Tensor:
    out: Tensor = attn.to_out[1](attn.to_out[0](x))
    return out
