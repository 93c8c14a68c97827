"""UniPC by diffusers, with steps measured in log SNR or in log sigma."""

import torch
from diffusers import UniPCMultistepScheduler as InLogSNR
from torch import Tensor

__all__ = ["InLogSNR", "InLogSigma"]


class InLogSigma(InLogSNR):  # type: ignore[misc]
    """UniPC in -log(sigma), as FramePack's own code: sigma = 1 is a point like others.

    The flow dx/dsigma = (x - x0) / sigma is integrated exactly for a constant x0 in either variable; only the
    polynomials through earlier predictions differ.
    """

    def _sigma_to_alpha_sigma_t(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        # alpha = 1 in place of 1 - sigma: lambda = log(alpha) - log(sigma) is then -log(sigma)
        return torch.ones_like(sigma), sigma
