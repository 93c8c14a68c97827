"""EfficientNet-Lite0, the ImageNet classifier of the offline family, and the feature it classifies by."""

import functools
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state
from fp_metrics.weights import weights_path

ARTIFACT = "efficientnet-lite0"
SIDE = 224
"""Pixels per side of the network's input."""
CROP = SIDE / (SIDE + 32)
"""Share of the shorter side that the centre crop takes."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one width."""

    blocks: int
    expansion: int
    width: int
    kernel: int
    stride: int


STAGES = (
    Stage(1, 1, 16, 3, 1),
    Stage(2, 6, 24, 3, 2),
    Stage(2, 6, 40, 5, 2),
    Stage(3, 6, 80, 3, 2),
    Stage(3, 6, 112, 5, 1),
    Stage(4, 6, 192, 5, 2),
    Stage(1, 6, 320, 3, 1),
)
STEM, HEAD, CLASSES = 32, 1280, 1000


@dataclass(frozen=True, eq=False)
class Seen:
    """What the classifier makes of pictures.

    Attributes:
        features: ``(n, 1280)``, pooled, in [0, 6].
        probabilities: ``(n, 1000)`` over the ImageNet classes, in torchvision's order.
    """

    features: Tensor
    probabilities: Tensor


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: inverted residual blocks without squeeze-and-excitation, ReLU6.

    Source: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
    the Lite variants: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _conv(3, STEM, 3, stride=2)
        self.bn0 = _norm(STEM)
        self.blocks = nn.ModuleList()
        width = STEM
        for stage in STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                self.blocks.append(_Block(width, replace(stage, stride=stride)))
                width = stage.width
        self.conv_head = _conv(width, HEAD, 1)
        self.bn1 = _norm(HEAD)
        self.fc = nn.Linear(HEAD, CLASSES)

    def forward(self, pictures: Float[Tensor, "n 3 224 224"]) -> Seen:
        """Feature and class probabilities of prepared pictures, see `prepare`."""
        x = F.relu6(self.bn0(self.conv_stem(pictures)))
        for block in self.blocks:
            x = block(x)
        features = F.relu6(self.bn1(self.conv_head(x))).mean((2, 3))
        return Seen(features, self.fc(features).softmax(1))


class _Block(nn.Module):
    """Widen, convolve each channel, narrow; with a shortcut where the shape stays."""

    def __init__(self, width: int, stage: Stage) -> None:
        super().__init__()
        inner = width * stage.expansion
        self.widens = stage.expansion > 1
        if self.widens:
            self.expand_conv = _conv(width, inner, 1)
            self.bn0 = _norm(inner)
        self.depthwise_conv = _conv(inner, inner, stage.kernel, stride=stage.stride, groups=inner)
        self.bn1 = _norm(inner)
        self.project_conv = _conv(inner, stage.width, 1)
        self.bn2 = _norm(stage.width)
        self.shortcut = stage.stride == 1 and width == stage.width

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        inner = F.relu6(self.bn1(self.depthwise_conv(inner)))
        narrow: Tensor = self.bn2(self.project_conv(inner))
        return x + narrow if self.shortcut else narrow


class _SameConv2d(nn.Conv2d):
    """TensorFlow's "same" padding at stride 2 and an even size: one pixel more behind than before."""

    def forward(self, x: Tensor) -> Tensor:
        before = (self.kernel_size[0] - 2) // 2
        return super().forward(F.pad(x, (before, before + 1, before, before + 1)))


def _conv(width: int, to: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 2:
        return _SameConv2d(width, to, kernel, stride=2, groups=groups, bias=False)
    return nn.Conv2d(width, to, kernel, padding=kernel // 2, groups=groups, bias=False)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


def prepare(frames: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 224 224"]:
    """Pictures in [0, 1] as the network was trained to see them.

    A centre crop of 7/8 of the shorter side, bicubic to 224x224, ``(p - 127) / 128`` of p in [0, 255].
    """
    height, width = frames.shape[-2:]
    side = max(1, round(CROP * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    crop = frames[..., top : top + side, left : left + side]
    small = F.interpolate(crop, size=(SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True)
    return (small.clamp(0, 1) * 255 - 127) / 128


@functools.cache
def load_efficientnet_lite() -> EfficientNetLite:
    """The trained network, loaded once per process.

    Raises:
        MissingWeights: the artifact is not there.
    """
    path = weights_path(ARTIFACT)
    state = {name.replace("._", ".").lstrip("_"): tensor for name, tensor in read_state(path).items()}
    return fill(EfficientNetLite(), state, path)


def see(frames: Float[Tensor, "n 3 224 224"]) -> Seen:
    """Feature and class probabilities of prepared pictures, on their device."""
    with torch.inference_mode():
        return load_efficientnet_lite().to(frames.device)(frames)


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1000 ImageNet class names in the order of the probabilities (they lie in torchvision itself)."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])
