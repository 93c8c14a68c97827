"""MUSIQ, the multi-scale image quality transformer.

Written from the paper and the description of the original code (google-research/musiq, Apache-2.0), with the
layout and the arithmetic of the published PyTorch checkpoints, because VBench's figures are made with those:
the kernels' standard deviation is the unbiased one, GELU is the exact one, and the smaller pictures are made
with bicubic interpolation without antialiasing (the original used a Gaussian).

Source: Ke et al., "MUSIQ: Multi-scale Image Quality Transformer", ICCV 2021, https://arxiv.org/abs/2108.05997.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state
from fp_metrics.weights import weights_path

ARTIFACT = "musiq-spaq"
PATCH = 32
GRID = 10
"""Positions are hashed to a grid of 10x10, whatever the picture's size (paper, section 3.3)."""
LONGER_SIDES = (224, 384)
"""Longer sides of the smaller pictures; the third scale is the picture as it came."""


def pad_same(pictures: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros around ``(n, c, h, w)``: a kernel fits ``ceil(size / stride)`` times; the odd one comes last."""
    pads = []
    for size in pictures.shape[:-3:-1]:
        missing = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(pictures, pads)


def resized(pictures: Tensor, longer: int) -> Tensor:
    """Resize ``(n, c, h, w)`` to a longer side, bicubic without antialiasing; also enlarges."""
    height, width = pictures.shape[-2:]
    ratio = longer / max(height, width)
    size = (round(height * ratio), round(width * ratio))
    return F.interpolate(pictures, size=size, mode="bicubic", align_corners=False)


def patches(pictures: Tensor) -> Tensor:
    """Patches of ``(n, 3, h, w)``, row by row: ``(n, ceil(h / 32) * ceil(w / 32), 3, 32, 32)``.

    What is missing to whole patches is filled with 0, half of it on each side.
    """
    columns = F.unfold(pad_same(pictures, PATCH, PATCH), PATCH, stride=PATCH)  # n (c y x) patches
    return columns.transpose(1, 2).unflatten(2, (pictures.shape[1], PATCH, PATCH))


def hashed_positions(rows: int, columns: int) -> Tensor:
    """Cell of the 10x10 grid that each patch falls in: int64 ``(rows * columns,)``, row by row."""
    cells = torch.arange(GRID, dtype=torch.float32)[None, None]
    vertical, horizontal = (
        F.interpolate(cells, size=n, mode="nearest")[0, 0].long() for n in (rows, columns)
    )
    return (vertical[:, None] * GRID + horizontal).flatten()


class StandardisedConv(nn.Conv2d):
    """Convolution without bias whose kernels have mean 0 and deviation 1, with TensorFlow's SAME padding.

    Source: Qiao et al., "Weight Standardization", 2019, https://arxiv.org/abs/1903.10520.
    """

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inside, outside, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inside, h, w)`` to ``(n, outside, ceil(h / stride), ceil(w / stride))``."""
        spread, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        kernel = (self.weight - mean) / (spread + 1e-5)
        return F.conv2d(pad_same(x, self.kernel_size[0], self.stride[0]), kernel, stride=self.stride)


class Bottleneck(nn.Module):
    """The residual unit of the stem: 64 channels to 256, each convolution followed by GroupNorm."""

    def __init__(self, width: int, outside: int) -> None:
        super().__init__()
        for name, inside, channels, kernel in (
            ("1", width, width, 1),
            ("2", width, width, 3),
            ("3", width, outside, 1),
            ("_proj", width, outside, 1),
        ):
            self.add_module(f"conv{name}", StandardisedConv(inside, channels, kernel))
            self.add_module(f"gn{name}", nn.GroupNorm(32, channels, eps=1e-4))

    def _normed(self, x: Tensor, name: str) -> Tensor:
        return self.get_submodule(f"gn{name}")(self.get_submodule(f"conv{name}")(x))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, h, w)`` to ``(n, outside, h, w)``."""
        inner = self._normed(x, "1").relu()
        inner = self._normed(inner, "2").relu()
        return (self._normed(inner, "3") + self._normed(x, "_proj")).relu()


class Attention(nn.Module):
    """Multi-head self-attention; all tokens see all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)``, same shape out."""
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attention = Attention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)``, same shape out."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Encoder(nn.Module):
    """Patch tokens with their position and scale, and what a class token reads from them."""

    def __init__(self, width: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.posembed_input = nn.ParameterDict({"position_emb": torch.zeros(1, GRID**2, width)})
        self.scaleembed_input = nn.ParameterDict({"scale_emb": torch.zeros(len(LONGER_SIDES) + 1, width)})
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.transformer = nn.ModuleDict(
            {f"encoderblock_{i}": EncoderBlock(width, heads, hidden) for i in range(layers)}
        )
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor, positions: Tensor, scales: Tensor) -> Tensor:
        """The class token of ``(n, tokens, width)``: ``(n, width)``.

        Args:
            tokens: embedded patches.
            positions: int64 ``(tokens,)``, cell of the grid.
            scales: int64 ``(tokens,)``, which of the scales.
        """
        x = tokens + self.posembed_input["position_emb"][0, positions]
        x = x + self.scaleembed_input["scale_emb"][scales]
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1)
        for block in self.transformer.values():
            x = block(x)
        return self.encoder_norm(x)[:, 0]


class Musiq(nn.Module):
    """MUSIQ with a head of one score; names and shapes of its parameters are those of the published file.

    The published layout fills every scale up to the square of its longer side with masked patches. No token
    reads those, so there are none here.

    Args:
        width: of a token.
        heads: of the attention.
        hidden: width of the feed-forward layers.
        layers: transformer blocks.
    """

    stem_width = 64

    def __init__(self, width: int = 384, heads: int = 6, hidden: int = 1152, layers: int = 14) -> None:
        super().__init__()
        stem, outside = self.stem_width, 4 * self.stem_width
        self.conv_root = StandardisedConv(3, stem, 7, stride=2)
        self.gn_root = nn.GroupNorm(32, stem, eps=1e-6)
        self.block1 = Bottleneck(stem, outside)
        self.embedding = nn.Linear(outside * (PATCH // 4) ** 2, width)
        self.transformer_encoder = Encoder(width, heads, hidden, layers)
        self.head = nn.Linear(width, 1)

    def embed(self, cut: Tensor) -> Tensor:
        """Tokens of patches ``(n, patches, 3, 32, 32)``: ``(n, patches, width)``."""
        x = self.gn_root(self.conv_root(cut.flatten(0, 1))).relu()
        x = F.max_pool2d(pad_same(x, 3, 2), 3, stride=2)
        x = self.block1(x)
        flat = x.permute(0, 2, 3, 1).flatten(1)  # channels last, as TensorFlow flattens
        return self.embedding(flat).unflatten(0, cut.shape[:2])

    def forward(self, frames: Tensor) -> Tensor:
        """Quality of frames float32 ``(n, 3, h, w)`` in [0, 1]: ``(n,)``, 0 to 100 when trained on SPAQ."""
        pictures = frames * 2 - 1
        pyramid = [*(resized(pictures, longer) for longer in LONGER_SIDES), pictures]
        tokens, positions, scales = [], [], []
        for scale, picture in enumerate(pyramid):
            tokens.append(self.embed(patches(picture)))
            rows, columns = (math.ceil(size / PATCH) for size in picture.shape[-2:])
            positions.append(hashed_positions(rows, columns))
            scales.append(torch.full((rows * columns,), scale))
        where, which = (torch.cat(index).to(frames.device) for index in (positions, scales))
        return self.head(self.transformer_encoder(torch.cat(tokens, dim=1), where, which))[:, 0]


@functools.cache
def musiq_spaq(device: torch.device) -> Musiq:
    """MUSIQ with the weights trained on SPAQ, ready for inference.

    Raises:
        MissingWeights: where they are not there.
        ValueError: where the file holds other tensors than the network has.
    """
    path = weights_path(ARTIFACT)
    return fill(Musiq(), read_state(path), path).to(device)
