"""Device of codec, encoders and sampler."""

import torch

from fp_lab.lab.config import ExperimentConfig


def lacks_gpu(config: ExperimentConfig) -> bool:
    """Return whether a config needs a GPU on a machine where torch sees none."""
    return config.training.accelerator == "gpu" and not torch.cuda.is_available()


def device_of(config: ExperimentConfig) -> torch.device:
    """Device of codec and sampler; lightning chooses that of training by the same setting."""
    if lacks_gpu(config):
        raise ValueError("training.accelerator: got gpu, but torch sees none; use auto or cpu")
    wanted = config.training.accelerator
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def require_devices(config: ExperimentConfig) -> None:
    """Refuse a config that needs more devices than this machine has.

    Raises:
        ValueError: torch sees no GPU, or fewer than the training is to use.
    """
    wanted = config.training.devices
    if device_of(config).type == "cuda" and wanted > torch.cuda.device_count():
        raise ValueError(
            f"training.devices: got {wanted}, but torch sees {torch.cuda.device_count()} GPU; use fewer, or "
            "accelerator=cpu"
        )
