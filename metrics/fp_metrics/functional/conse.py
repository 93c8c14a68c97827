"""ConSE: a picture's place among texts, as a convex combination of the names of what it shows."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def conse(
    probabilities: Float[Tensor, "n c"], names: Float[Tensor, "c d"], top: int = 10
) -> Float[Tensor, "n d"]:
    """Unit vectors of pictures in the space of the class names, eq. 3 of the paper.

    ``f(x) = 1/Z sum_{t=1..T} p(y_t | x) s(y_t)`` over the `top` likeliest classes, ``Z`` the sum of their
    probabilities; then divided by its length.

    Args:
        probabilities: of each class.
        names: embedding of each class's name.
        top: the paper's T.

    Source:
        Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", ICLR 2014.
    """
    likely, classes = probabilities.topk(min(top, probabilities.shape[1]), dim=1)
    shares = likely / likely.sum(1, keepdim=True)
    return F.normalize((shares[..., None] * names[classes]).sum(1), dim=1)
