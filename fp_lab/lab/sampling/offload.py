"""Offloading for generation with less memory: parts take turns on the device, or blocks come one by one."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from fp_lab.backbones.protocol import BACKBONES
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.model import FramePackModel
from fp_lab.sampling.rollout import RolledSection

Offload = Literal["none", "parts", "blocks"]
"""Parts on the device: everything; model and codec in turns (`in_turns`); one or two blocks at a time."""


def place_model(model: FramePackModel, device: torch.device, offload: Offload) -> None:
    """Place a model for generation.

    Args:
        model: model with its adapters, if any. A repeated call for offloaded blocks changes nothing.
        device: device that computes.
        offload: ``none``: the model goes to the device. ``parts``: it waits on the CPU for its turn.
            ``blocks``: packer and embeddings go to the device, and each block only while in use; on a GPU the
            next one is fetched meanwhile, from pinned memory.

    Raises:
        ValueError: ``blocks`` with a model that is not of diffusers.
    """
    if offload == "blocks":
        _let_blocks_come(model, device)
    else:
        model.to("cpu" if offload == "parts" else device)


def in_turns(
    rolled: Iterator[RolledSection],
    model: FramePackModel,
    codec: LatentCodec,
    device: torch.device,
) -> Iterator[RolledSection]:
    """Yield sections of a rollout, with the model on the device during generation and the codec in between.

    At the end, also after an error, the model is on the CPU and the codec on the device. A model with
    offloaded blocks stays where it is: little of it is on the device.

    Args:
        rolled: iterator of `rollout`, which computes each section when it is requested.
        model: model of the rollout, placed for ``parts`` or ``blocks``.
        codec: codec that decodes each section before the next one is requested.
        device: device that computes.
    """
    stays = _has_coming_blocks(model)
    while True:
        codec.to("cpu")
        if not stays:
            model.to(device)
        try:
            section = next(rolled, None)
        finally:
            if not stays:
                model.to("cpu")
            codec.to(device)
        if section is None:
            return
        yield section


def _has_coming_blocks(model: FramePackModel) -> bool:
    return "denoise" in vars(model.backbone)


class _Pass(nn.Module):
    """A denoising step in the form that diffusers' offloading needs: a module that calls all of its blocks.

    The transformer's own call, which diffusers expects, is never made here.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(backbone.blocks)
        self.rest = nn.Identity()  # blocks are fetched ahead only where there is more than blocks
        self.denoise = backbone.denoise

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Denoise."""
        return self.denoise(*arguments, **options)


def _let_blocks_come(model: FramePackModel, device: torch.device) -> None:
    """Keep blocks on the CPU except while in use."""
    from diffusers.hooks import apply_group_offloading

    backbone = model.backbone
    if BACKBONES.name_of(type(backbone)):
        raise ValueError(
            "offload: got 'blocks' for a model of fp_lab's own, expected none or parts: only the blocks of a "
            "transformer of diffusers can come one by one"
        )
    if _has_coming_blocks(model):
        return
    step = _Pass(backbone)
    apply_group_offloading(
        step,
        onload_device=device,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.type == "cuda",
    )
    inside = {module for block in backbone.blocks for module in block.modules()}
    for module in model.modules():
        if module not in inside:
            module._apply(lambda tensor: tensor.to(device), recurse=False)
    backbone.denoise = step.__call__  # no submodule: names of weights stay
