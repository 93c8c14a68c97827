"""UniPC by diffusers, a step of which is one of log SNR or of log sigma."""

import torch
from diffusers import UniPCMultistepScheduler as InLogSNR
from torch import Tensor

__all__ = ["InLogSNR", "InLogSigma"]


class InLogSigma(InLogSNR):  # type: ignore[misc]
    """UniPC in -log(sigma), as FramePack's own code: sigma = 1 is a point like others.

    The flow dx/dsigma = (x - x0) / sigma is integrated exactly for a constant x0 in either variable; only the
    polynomials through earlier predictions are others.
    """

    def _sigma_to_alpha_sigma_t(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(sigma), sigma
