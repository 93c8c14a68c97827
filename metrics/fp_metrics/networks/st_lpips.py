"""LPIPS and its shift-tolerant variant ST-LPIPS: how different two pictures look to AlexNet's features."""

import functools
import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state
from fp_metrics.weights import weights_path

LPIPS_BACKBONE = "lpips-alexnet-backbone"
ST_LPIPS = "stlpips-alex"
WIDTHS = (64, 192, 384, 256, 256)
LEAST_SIDE = 32
"""Pixels; smaller pictures vanish in the pooling."""

ALEXNET_SLICES = (0, 2, 5, 8, 10, 12)
SHIFT_TOLERANT_SLICES = (0, 3, 7, 11, 13, 15)
"""Where the layers are cut, so that each piece ends in the activations that are compared."""


class PerceptualDistance(nn.Module):
    """Distance of the unit-length features of two pictures, weighted per channel, averaged over the picture.

    ``d = sum_l mean_hw sum_c w_lc (f_l(a) - f_l(b))^2``, each ``f_l`` divided by its length over channels.

    Args:
        layers: of the backbone, in order.
        slices: indices that cut them into the compared pieces.

    Source:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018,
        eq. 1.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, layers: Sequence[nn.Module], slices: Sequence[int]) -> None:
        super().__init__()
        self.slices = nn.ModuleList(
            nn.Sequential(OrderedDict((str(index), layers[index]) for index in range(first, end)))
            for first, end in pairwise(slices)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in WIDTHS)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def forward(
        self, first: Float[Tensor, "n 3 h w"], second: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n"]:
        """The distance, at least 0, of pictures in [0, 1].

        Raises:
            ValueError: for pictures of less than 32x32.
        """
        if min(first.shape[-2:]) < LEAST_SIDE:
            height, width = first.shape[-2:]
            raise ValueError(f"got pictures of {height}x{width}, expected at least {LEAST_SIDE}x{LEAST_SIDE}")
        x = (2 * torch.cat((first, second)) - 1 - self.shift) / self.scale
        distance = x.new_zeros(len(first))
        for piece, head in zip(self.slices, self.heads, strict=True):
            x = piece(x)
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            ours, theirs = unit.chunk(2)
            distance = distance + head((ours - theirs).square()).mean((1, 2, 3))
        return distance


class BlurPool(nn.Module):
    """Every second pixel of a picture smoothed by [1, 2, 1]: no aliasing, so that a shift changes little.

    Source: Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019; here with a border of 2.
    """

    filt: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(row, row).repeat(width, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to about half the height and width."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.filt, stride=2, groups=len(self.filt))


def lpips_network() -> PerceptualDistance:
    """LPIPS on AlexNet without trained weights."""
    layers = (
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *_last_layers(),
    )
    return PerceptualDistance(layers, ALEXNET_SLICES)


def st_lpips_network() -> PerceptualDistance:
    """ST-LPIPS on its shift-tolerant AlexNet without trained weights.

    Source: Ghildyal & Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022.
    """
    layers = (
        *(nn.Conv2d(3, 64, 11, padding=2), BlurPool(64), nn.ReLU(), nn.MaxPool2d(3, 1), BlurPool(64)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 1), BlurPool(192)),
        *_last_layers(),
    )
    return PerceptualDistance(layers, SHIFT_TOLERANT_SLICES)


def _last_layers() -> tuple[nn.Module, ...]:
    return (
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


@functools.cache
def load_lpips() -> PerceptualDistance:
    """LPIPS 0.1 on AlexNet: torchvision's ImageNet weights and the heads that lie in the `lpips` package.

    Raises:
        MissingWeights: the backbone is not there.
    """
    path = weights_path(LPIPS_BACKBONE)
    return _filled(lpips_network(), read_state(path) | read_state(lpips_heads()), path)


@functools.cache
def load_st_lpips() -> PerceptualDistance:
    """ST-LPIPS on AlexNet.

    Raises:
        MissingWeights: the artifact is not there.
    """
    path = weights_path(ST_LPIPS)
    return _filled(st_lpips_network(), read_state(path), path)


def lpips_heads() -> Path:
    """The trained heads in the installed `lpips` package, which is not imported."""
    spec = importlib.util.find_spec("lpips")
    if spec is None or spec.origin is None:
        raise ImportError("LPIPS needs the heads in the package lpips: pip install lpips")
    return Path(spec.origin).parent / "weights" / "v0.1" / "alex.pth"


def _filled(network: PerceptualDistance, state: dict[str, Tensor], path: Path) -> PerceptualDistance:
    """The network with weights of published names; a classifier on top of the backbone is left out."""
    slice_of = {
        name: piece for piece, layers in enumerate(network.slices) for name, _ in layers.named_children()
    }
    named = {"shift": network.shift, "scale": network.scale}
    for key, tensor in state.items():
        kind, *middle, leaf = key.split(".")
        if kind == "scaling_layer":
            named[leaf] = tensor
        elif kind.startswith("lin"):
            named[f"heads.{kind.removeprefix('lin')}.{leaf}"] = tensor
        elif kind in ("features", "net"):  # features.3.weight, net.slice2.5.weight
            named[f"slices.{slice_of[middle[-1]]}.{middle[-1]}.{leaf}"] = tensor
        elif kind != "classifier":
            named[key] = tensor  # `fill` refuses it
    return fill(network, named, path)
