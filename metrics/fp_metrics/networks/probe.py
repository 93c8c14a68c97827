"""The probe: a small network that reads single frames of the synthetic world without ground truth.

It finds the one object (a mask), and says of it how much shows, how well-formed it is, which shape, colour
and texture it has and how it looks (an embedding), and of the whole frame how sharp and how noisy it is. It
was trained on renders with known damage by ``fp-lab probe train``; its figures on renders that it was not
trained on are in the provenance beside its weights.
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from fp_metrics.functional.captions import COLOURS, SHAPES, TEXTURES
from fp_metrics.functional.colour import luma
from fp_metrics.functional.sharpness import haar_noise, sobel
from fp_metrics.networks.checkpoint import fill

SIZE = 64
"""Height and width of the frames that the probe reads, pixels."""
CROP, REACH = 32, 40.0
"""Samples along the crop around an object, and pixels that it covers."""
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.97, 0.995)
"""Of the gradient's squared length, from which sharpness is read."""
EMBEDDING = 32
"""Length of the embedding."""
WEIGHTS_FILE = "model.safetensors"
PROVENANCE_FILE = "provenance.json"


@dataclass(frozen=True, eq=False)
class ProbeOutput:
    """What the probe says of n frames.

    Attributes:
        mask: logits of each pixel showing the object, ``(n, 64, 64)``.
        centre: centre of the mask, (x, y) in pixels, ``(n, 2)``.
        visible: logits of the share of the object that shows, ``(n,)``.
        well_formed: logits of the overlap of its outline with that of an undamaged object, ``(n,)``.
        shape: logits of `SHAPES`, ``(n, 4)``.
        colour: logits of `COLOURS`, ``(n, 8)``.
        texture: logits of `TEXTURES`, ``(n, 3)``.
        clarity: logits of the gradient energy kept and of the freedom from noise, ``(n, 2)``.
        embedding: of length 1, ``(n, 32)``.
    """

    mask: Float[Tensor, "n 64 64"]
    centre: Float[Tensor, "n 2"]
    visible: Float[Tensor, " n"]
    well_formed: Float[Tensor, " n"]
    shape: Float[Tensor, "n shapes"]
    colour: Float[Tensor, "n colours"]
    texture: Float[Tensor, "n textures"]
    clarity: Float[Tensor, "n 2"]
    embedding: Float[Tensor, "n e"]


class Probe(nn.Module):
    """Finds the object with a small U-shaped network, then reads it from a crop around its centre.

    In the crop the object always lies in the middle, so its outline and texture are compared place by place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = _convolution(12, 20)
        self.quarter = nn.Sequential(_convolution(20, 32, 2), _convolution(32, 32))
        self.eighth = nn.Sequential(_convolution(32, 64, 2), _convolution(64, 64), _convolution(64, 64))
        self.up_eighth, self.up_quarter = nn.Conv2d(64, 32, 1), nn.Conv2d(32, 20, 1)
        self.at_quarter, self.at_half = _convolution(32, 32), _convolution(20, 20)
        self.mask = nn.Conv2d(20, 4, 3, padding=1)
        self.crop = nn.Sequential(
            _convolution(4, 32, 2),
            _convolution(32, 48),
            _convolution(48, 64, 2),
            _convolution(64, 64, 2),
            nn.Flatten(),
        )
        self.object = nn.Sequential(nn.Linear(64 * (CROP // 8) ** 2, 128), nn.BatchNorm1d(128), nn.ReLU())
        self.heads = nn.Linear(128, 2 + len(SHAPES) + len(COLOURS) + len(TEXTURES))
        self.embed = nn.Linear(128, EMBEDDING)
        self.clarity = nn.Sequential(
            nn.BatchNorm1d(20 + 64 + len(QUANTILES) + 2),
            nn.Linear(20 + 64 + len(QUANTILES) + 2, 64), nn.ReLU(), nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, frames: Float[Tensor, "n 3 64 64"]) -> ProbeOutput:
        """Read frames, float32 RGB in [0, 1]."""
        half = self.first(F.pixel_unshuffle(4 * (frames - 0.5), 2))
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        up = self.at_quarter(quarter + F.interpolate(self.up_eighth(eighth), scale_factor=2.0))
        up = self.at_half(half + F.interpolate(self.up_quarter(up), scale_factor=2.0))
        mask = F.pixel_shuffle(self.mask(up), 2)[:, 0]
        centre = centre_of(mask)
        seen = self.object(self.crop(_around(frames, mask.detach().sigmoid(), centre.detach())))
        sizes = [1, 1, len(SHAPES), len(COLOURS), len(TEXTURES)]
        visible, well_formed, shape, colour, texture = self.heads(seen).split(sizes, 1)
        overall = (half.mean((2, 3)), eighth.mean((2, 3)), _edge_statistics(frames))
        return ProbeOutput(
            mask=mask,
            centre=centre,
            visible=visible[:, 0],
            well_formed=well_formed[:, 0],
            shape=shape,
            colour=colour,
            texture=texture,
            clarity=self.clarity(torch.cat(overall, 1)),
            embedding=F.normalize(self.embed(seen), dim=1),
        )


def _around(frames: Tensor, cover: Tensor, centre: Tensor) -> Tensor:
    """Frame and mask ``(n, 4, 32, 32)`` in a square of 40 pixels around a centre; 0 outside the frame."""
    steps = (torch.arange(CROP, device=frames.device) + 0.5) * (REACH / CROP) - REACH / 2
    x, y = (centre[:, axis, None] + 0.5 + steps for axis in (0, 1))
    grid = (
        torch.stack((x[:, None, :].expand(-1, CROP, -1), y[:, :, None].expand(-1, -1, CROP)), -1) * (2 / SIZE)
        - 1
    )
    both = torch.cat((4 * (frames - 0.5), 4 * cover[:, None]), 1)
    return F.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _edge_statistics(frames: Tensor) -> Tensor:
    """Logarithms of noise, gradient energy and quantiles of the gradient's length: ``(n, 2 + quantiles)``."""
    grey = luma(frames)
    lengths = sobel(grey).square().sum(1).flatten(1)
    quantiles = lengths.quantile(lengths.new_tensor(QUANTILES), dim=1).T
    noise = haar_noise(grey).square()
    return (torch.cat((noise[:, None], lengths.mean(1, keepdim=True), quantiles), 1) + 1e-6).log()


def centre_of(mask: Float[Tensor, "n h w"]) -> Float[Tensor, "n 2"]:
    """Centre (x, y), pixels, of the pixels that logits say are covered, weighted by their probability.

    Probabilities below 0.1 do not count, or the many pixels of the background would draw it to the middle;
    where there is none above, it is the middle of the picture.
    """
    weights = (mask.sigmoid() - 0.1).clamp(min=0)
    total = weights.sum((1, 2))
    x, y = (
        torch.arange(size, dtype=mask.dtype, device=mask.device) for size in (mask.shape[2], mask.shape[1])
    )
    centre = torch.stack(((weights.sum(1) * x).sum(1), (weights.sum(2) * y).sum(1)), 1)
    middle = torch.stack((x.mean(), y.mean()))
    return torch.where(total[:, None] > 0, centre / total.clamp(min=1e-6)[:, None], middle)


def _convolution(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def shipped_folder() -> Path:
    """Where the shipped probe lies, with its provenance."""
    return Path(str(resources.files("fp_metrics"))) / "pretrained" / "probe"


def read_probe(folder: Path) -> Probe:
    """The probe in a folder that ``fp-lab probe train`` wrote, in inference mode.

    Raises:
        ValueError: there is none, or it has other tensors.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ValueError(
            f"no probe in {folder}: expected {WEIGHTS_FILE}; train one with `fp-lab probe train`"
        )
    return fill(Probe(), load_file(path), path)


@functools.cache
def shipped_probe() -> Probe:
    """The shipped probe, loaded once."""
    return read_probe(shipped_folder())


@functools.cache
def shipped_sha256() -> str:
    """Hex digest of the shipped probe's weights."""
    return hashlib.sha256((shipped_folder() / WEIGHTS_FILE).read_bytes()).hexdigest()


@functools.cache
def shipped_provenance() -> dict[str, Any]:
    """How the shipped probe was made, and its figures on renders that it was not trained on."""
    record: dict[str, Any] = json.loads((shipped_folder() / PROVENANCE_FILE).read_text(encoding="utf-8"))
    return record
