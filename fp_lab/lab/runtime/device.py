"""Where codec, encoders and sampler run."""

import torch

from fp_lab.lab.config import ExperimentConfig


def device_of(config: ExperimentConfig) -> torch.device:
    """Where codec and sampler run; training is lightning's choice by the same setting."""
    wanted = config.training.accelerator
    if wanted == "gpu" and not torch.cuda.is_available():
        raise ValueError("training.accelerator: got gpu, but torch sees none; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
