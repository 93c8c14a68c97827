"""Keys that count more or less in attention, without a mask: fused kernels stay in use.

A bias b on the logits of a key, whatever the query, is a factor w = e^b of its term in numerator and
denominator of the softmax (Recency Forcing, https://arxiv.org/abs/2609.19729):
softmax(q K + b) V = softmax(q K) [w V] / softmax(q K) [w 1].
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def key_weights(bias: Tensor | None, after: int) -> Tensor | None:
    """Weights ``b n`` of keys with a bias, and 1 for so many keys after them; None without a bias."""
    return None if bias is None else F.pad(bias.exp(), (0, after), value=1.0)


def attend(kernel: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, weights: Tensor | None) -> Tensor:
    """Attention whose keys have weights, in one call of a kernel.

    Args:
        kernel: attention of queries, keys and values, such as `torch.nn.functional`'s; takes ``scale``.
        q: queries, channels last.
        k: keys, channels last.
        v: values, channels last, as many as of keys.
        weights: above 0 for at least one key that each query sees, of one channel, broadcast over values;
            None for 1.
    """
    if weights is None:
        return kernel(q, k, v)
    width = q.shape[-1]
    # heads stay of one width for queries, keys and values: flash attention refuses others
    q, k = F.pad(q, (0, 1)), F.pad(k, (0, 1))
    v = torch.cat((v, torch.ones_like(v[..., :1])), -1) * weights.to(v.dtype)
    seen = kernel(q, k, v, scale=width**-0.5)
    return seen[..., :width] / seen[..., width:]
