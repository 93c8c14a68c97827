"""Generation with less memory on the device: parts that take turns there, or blocks that come one by one."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from fp_lab.backbones.tiny import TinyDiT
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.model import FramePackModel
from fp_lab.sampling.rollout import RolledSection

Offload = Literal["none", "parts", "blocks"]
"""What is on the device: everything; model and codec in turns (`in_turns`); of the blocks, one or two."""


def place_model(model: FramePackModel, device: torch.device, offload: Offload) -> None:
    """Bring a model to where it generates.

    Args:
        model: with its adapters, if it has any. Done again for one that has its blocks come and go, nothing
            changes.
        device: that computes.
        offload: ``none``: the model goes there. ``parts``: it waits on the CPU for its turn. ``blocks``:
            packer and embeddings go there, and each block only while it is at work; on a GPU the next one is
            fetched meanwhile, from pinned memory.

    Raises:
        ValueError: ``blocks`` of a model that is not of diffusers.
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
    """Sections of a rollout, with the model on the device while they are made and the codec while not.

    Whatever ends it, an error of the rollout too, the model is on the CPU then and the codec on the device.
    A model whose blocks come and go stays where it is: the little that is left there need not go.

    Args:
        rolled: from `rollout`, which computes when it is asked for the next section.
        model: that makes them, placed for ``parts`` or ``blocks``.
        codec: that decodes each before the next one is asked for.
        device: that computes.
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
    """A denoising step as diffusers' offloading wants to see it: a module with blocks that calls them all.

    The call of the transformer itself, which diffusers has in mind, is never made here.
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
    """Keep blocks on the CPU but for the time that they are at work."""
    from diffusers.hooks import apply_group_offloading

    backbone = model.backbone
    if isinstance(backbone, TinyDiT):
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
