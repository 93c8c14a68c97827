"""Joint attention of HunyuanVideo's blocks with rotary phases per item, and with keys that came before.

diffusers rotates by one set of cos and sin that the whole batch shares. An attention processor is its way to
plug in another attention; what it needs travels in the place of the phases, which blocks pass on as they are.
The complex product over the joint sequence also spares the slices and copies of diffusers' rotation.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from torch import Tensor

from fp_lab.backbones.key_weights import attend
from fp_lab.backbones.phasors import rotate_pairs


@dataclass(frozen=True, eq=False)
class JointAttention:
    """What the attention of one block needs beside its tokens.

    Attributes:
        phasors: cos + i sin of [video, text], complex64 ``b n+l 1 k``.
        earlier: keys and values ``b heads m c`` that come before these; None without any.
        key_scale: factors of the video's first keys, ``heads m``, as many as there are; None for 1.
        keep: whether `kept` shall get the video's keys and values.
        kept: keys and values ``b heads m+n c`` of all but the text.
        key_weights: of all keys, ``b m+n+l 1 1``; None for 1.
    """

    phasors: Tensor
    earlier: tuple[Tensor, Tensor] | None = None
    key_scale: Tensor | None = None
    keep: bool = False
    kept: list[Tensor] = field(default_factory=list)
    key_weights: Tensor | None = None


class PerItemPhases(HunyuanVideoAttnProcessor2_0):  # type: ignore[misc]  # diffusers is not typed
    """Attention processor; given diffusers' own phases it is diffusers' own."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend over [earlier, video, text].

        Args:
            attn: diffusers' attention module, with projections of the text's own in a block of two streams.
            hidden_states: video ``b n d``.
            encoder_hidden_states: text ``b l d``.
            attention_mask: bool ``b 1 1 m+n+l``, or ``b 1 n+l m+n+l`` with a row per query.
            image_rotary_emb: a `JointAttention`; else see diffusers.

        Returns:
            Video and text.
        """
        if not isinstance(image_rotary_emb, JointAttention):
            shared: tuple[Tensor, Tensor] = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb
            )
            return shared
        call, count, two_streams = image_rotary_emb, hidden_states.shape[1], attn.add_q_proj is not None
        x = hidden_states if two_streams else torch.cat((hidden_states, encoder_hidden_states), 1)
        q, k, v = _heads(x, attn.heads, attn.to_q, attn.to_k, attn.to_v)
        q, k = attn.norm_q(q), attn.norm_k(k)
        if two_streams:
            added = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            text_q, text_k, text_v = _heads(encoder_hidden_states, attn.heads, *added)
            q = torch.cat((q, attn.norm_added_q(text_q)), 1)
            k = torch.cat((k, attn.norm_added_k(text_k)), 1)
            v = torch.cat((v, text_v), 1)
        # text has phasors of 1: HunyuanVideo rotates the video alone
        q, k = rotate_pairs(q, call.phasors), rotate_pairs(k, call.phasors)
        k, v = _with_others(k, v, call, count)
        kernel = partial(dispatch_attention_fn, attn_mask=attention_mask, backend=self._attention_backend)
        x = attend(kernel, q, k, v, call.key_weights).flatten(2)
        video, text = x[:, :count], x[:, count:]
        if two_streams:
            video, text = attn.to_out[1](attn.to_out[0](video)), attn.to_add_out(text)
        return video, text


def _with_others(k: Tensor, v: Tensor, call: JointAttention, count: int) -> tuple[Tensor, Tensor]:
    """Keys and values behind those that came before; the video's, which are the first `count`, are kept."""
    # before earlier keys are joined, which were scaled when they were kept
    if call.key_scale is not None:
        scaled = k[:, : call.key_scale.shape[1]] * call.key_scale.mT[..., None].to(k.dtype)
        k = torch.cat((scaled, k[:, scaled.shape[1] :]), 1)
    if call.earlier is not None:
        k, v = (
            torch.cat((before.transpose(1, 2), now), 1)
            for before, now in zip(call.earlier, (k, v), strict=True)
        )
        count += call.earlier[0].shape[2]
    if call.keep:
        call.kept.extend(each[:, :count].transpose(1, 2) for each in (k, v))
    return k, v


def _heads(x: Tensor, heads: int, *projections: Any) -> list[Tensor]:
    """One ``b n heads c`` per projection."""
    return [project(x).unflatten(2, (heads, -1)) for project in projections]
