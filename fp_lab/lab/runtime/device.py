"""Device of codec, encoders and sampler."""

import torch

from fp_lab.lab.config import ExperimentConfig


def device_of(config: ExperimentConfig) -> torch.device:
    """Device of codec and sampler; lightning chooses that of training by the same setting."""
    wanted = config.training.accelerator
    if wanted == "gpu" and not torch.cuda.is_available():
        raise ValueError("training.accelerator: got gpu, but torch sees none; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
