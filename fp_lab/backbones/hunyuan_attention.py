"""Joint attention of HunyuanVideo's blocks with rotary phases per item.

diffusers rotates by one set of cos and sin that the whole batch shares. An attention processor is its way to
plug in another attention. The complex product over the joint sequence also spares the slices and copies of
diffusers' rotation.
"""

from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from torch import Tensor


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
        """Attend over [video, text].

        Args:
            attn: diffusers' attention module, with projections of the text's own in a block of two streams.
            hidden_states: video ``b n d``.
            encoder_hidden_states: text ``b l d``.
            attention_mask: bool ``b 1 1 n+l``.
            image_rotary_emb: cos + i sin of video and text, complex64 ``b n+l 1 k``; else see diffusers.

        Returns:
            Video and text.
        """
        if not isinstance(image_rotary_emb, Tensor):
            shared: tuple[Tensor, Tensor] = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb
            )
            return shared
        count, two_streams = hidden_states.shape[1], attn.add_q_proj is not None
        x = hidden_states if two_streams else torch.cat((hidden_states, encoder_hidden_states), 1)
        q, k, v = _heads(x, attn.heads, attn.to_q, attn.to_k, attn.to_v)
        q, k = attn.norm_q(q), attn.norm_k(k)
        if two_streams:
            added = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            text_q, text_k, text_v = _heads(encoder_hidden_states, attn.heads, *added)
            q = torch.cat((q, attn.norm_added_q(text_q)), 1)
            k = torch.cat((k, attn.norm_added_k(text_k)), 1)
            v = torch.cat((v, text_v), 1)
        q, k = rotate_pairs(q, image_rotary_emb), rotate_pairs(k, image_rotary_emb)
        x = dispatch_attention_fn(q, k, v, attn_mask=attention_mask, backend=self._attention_backend)
        x = x.flatten(2)
        video, text = x[:, :count], x[:, count:]
        if two_streams:
            video, text = attn.to_out[1](attn.to_out[0](video)), attn.to_add_out(text)
        return video, text


def rotate_pairs(x: Tensor, phasors: Tensor) -> Tensor:
    """Rotate heads ``b n heads (k 2)`` by ``b n 1 k``: neighbouring channels are a pair.

    `fp_lab.packing.rope.rotate` pairs the two halves of a head instead.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phasors).flatten(-2).to(x.dtype)


def _heads(x: Tensor, heads: int, *projections: Any) -> list[Tensor]:
    """One ``b n heads c`` per projection."""
    return [project(x).unflatten(2, (heads, -1)) for project in projections]
