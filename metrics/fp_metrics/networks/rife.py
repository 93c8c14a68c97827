"""IFNet, the interpolation network of RIFE, version 4: the frame between two frames, and where it comes from.

Four stages estimate, from coarse to fine, where each pixel of the middle frame lies in either frame, and how
the two are blended; a small U-Net then adds what neither shows. Written from the paper and from the shapes of
the published weights.

Source: Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV 2022,
https://arxiv.org/abs/2011.06294; weights of version 4 (arbitrary time), https://github.com/megvii-research/ECCV2022-RIFE.
"""

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state
from fp_metrics.weights import weights_path

ARTIFACT = "rife-v4"
STRIDE = 32
"""Sides are padded to multiples of it: 1/8 of the size at the coarsest stage, and 1/4 of that inside."""
MIDDLE = 0.5
"""The time of the frame that is asked for; the frames lie at 0 and 1."""

UNUSED = ("block_tea.",)
"""What the file holds beyond the network: the teacher that sees the middle frame in training, 32 tensors."""

_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^block(\d)\.conv0\.", r"stages.\1.shrink."),
    (r"^block(\d)\.convblock\.", r"stages.\1.body."),
    (r"^block(\d)\.lastconv\.", r"stages.\1.grow."),
    (r"^contextnet\.conv(\d)\.conv(\d)\.", lambda m: f"context.levels.{int(m[1]) - 1}.{int(m[2]) - 1}."),
    (r"^unet\.down(\d)\.conv(\d)\.", lambda m: f"unet.down.{m[1]}.{int(m[2]) - 1}."),
    (r"^unet\.up(\d)\.", r"unet.up.\1."),
    (r"^unet\.conv\.", "unet.colour."),
)
"""The file's names -> ours."""


@dataclass(frozen=True, eq=False)
class Interpolation:
    """The frame halfway between two, and where its pixels lie in them.

    Attributes:
        middle: float32 ``(n, 3, h, w)`` in [0, 1].
        to_first: float32 ``(n, 2, h, w)``, pixels, (x, y): ``middle[y, x]`` shows what the first frame shows
            at ``[y + to_first[1], x + to_first[0]]``.
        to_last: the same for the last frame.
    """

    middle: Tensor
    to_first: Tensor
    to_last: Tensor


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Look ``(n, c, h, w)`` up at ``p + flow(p)``: bilinear, borders replicated.

    Args:
        frames: to look into, at least 2x2.
        flow: ``(n, 2, h, w)``, pixels, (x, y).
    """
    height, width = flow.shape[-2:]
    x = torch.linspace(-1, 1, width, device=flow.device) + flow[:, 0] / ((width - 1) / 2)
    y = torch.linspace(-1, 1, height, device=flow.device)[:, None] + flow[:, 1] / ((height - 1) / 2)
    grid = torch.stack((x, y), -1)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _both_warped(first: Tensor, last: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    return warp(first, flow[:, :2]), warp(last, flow[:, 2:])


def _resized(maps: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return maps
    return F.interpolate(maps, scale_factor=scale, mode="bilinear", align_corners=False)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class _Stage(nn.Module):
    """Estimates, at 1/scale of the size, how both flows and the blending should change."""

    def __init__(self, inputs: int, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.shrink = nn.Sequential(_conv(inputs, width // 2, 2), _conv(width // 2, width, 2))
        self.body = nn.Sequential(*(_conv(width, width) for _ in range(8)))
        self.grow = nn.ConvTranspose2d(width, 5, 4, 2, 1)

    def forward(self, maps: tuple[Tensor, ...], flow: Tensor | None) -> tuple[Tensor, Tensor]:
        """Change of the flows ``(n, 4, h, w)`` in pixels and of the blending's logit ``(n, 1, h, w)``."""
        seen = [_resized(one, 1 / self.scale) for one in maps]
        seen.insert(2, torch.full_like(seen[0][:, :1], MIDDLE))
        if flow is not None:
            seen.append(_resized(flow, 1 / self.scale) / self.scale)
        features = self.shrink(torch.cat(seen, 1))
        change = _resized(self.grow(self.body(features) + features), 2 * self.scale)
        return change[:, :4] * (2 * self.scale), change[:, 4:]


class _Context(nn.Module):
    """Features of one frame at 1/2 to 1/16 of the size, each moved to where the middle frame has them."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (3, *(width << level for level in range(4)))
        self.levels = nn.ModuleList(
            nn.Sequential(_conv(i, o, 2), _conv(o, o)) for i, o in itertools.pairwise(widths)
        )

    def forward(self, frames: Tensor, flow: Tensor) -> list[Tensor]:
        moved = []
        for level in self.levels:
            frames, flow = level(frames), _resized(flow, 0.5) * 0.5
            moved.append(warp(frames, flow))
        return moved


class _UNet(nn.Module):
    """What to add to the blended frame."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        outputs = [2 * width << level for level in range(4)]
        inputs = [17, *(2 * wide for wide in outputs[:-1])]
        self.down = nn.ModuleList(
            nn.Sequential(_conv(i, o, 2), _conv(o, o)) for i, o in zip(inputs, outputs, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(4 * wide, wide, 4, 2, 1), nn.PReLU(wide))
            for wide in (8 * width, 4 * width, 2 * width, width)
        )
        self.colour = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, maps: Tensor, contexts: list[Tensor]) -> Tensor:
        """Residual ``(n, 3, h, w)`` in [-1, 1] from all maps ``(n, 17, h, w)`` and 4 levels of context."""
        skips: list[Tensor] = []
        features = maps
        for down, context in zip(self.down, contexts, strict=True):
            skips.append(down(features))
            features = torch.cat((skips[-1], context), 1)
        for up, skip in zip(self.up, [*skips[-2::-1], None], strict=True):
            features = up(features)
            features = features if skip is None else torch.cat((features, skip), 1)
        return torch.sigmoid(self.colour(features)) * 2 - 1


class IFNet(nn.Module):
    """RIFE's network. Frames are float32 ``(n, 3, h, w)`` RGB in [0, 1], of any size.

    The public code starts again at half the size where a flow jumps by more than 32 pixels anywhere in the
    batch. That is left out: a value would depend on what else is in the batch, and on the padding.
    """

    def __init__(self) -> None:
        super().__init__()
        widths, scales = (192, 128, 96, 64), (8, 4, 2, 1)
        inputs = (7, 12, 12, 12)  # both frames and the time; later also the blending and both flows
        self.stages = nn.ModuleList(_Stage(*sizes) for sizes in zip(inputs, widths, scales, strict=True))
        self.context = _Context()
        self.unet = _UNet()

    def forward(self, first: Tensor, last: Tensor, *, refine: bool = True) -> Interpolation:
        """The frames halfway between.

        Args:
            first: at time 0.
            last: at time 1, of the same shape.
            refine: whether the U-Net adds its residual; the flows are the same without.
        """
        height, width = first.shape[-2:]
        pad = (0, -width % STRIDE, 0, -height % STRIDE)
        first, last = (F.pad(frames, pad, mode="replicate") for frames in (first, last))
        coarsest, *finer = self.stages
        flow, logit = coarsest((first, last), None)
        for stage in finer:
            change, more = stage((*_both_warped(first, last, flow), logit), flow)
            flow, logit = flow + change, logit + more
        moved = _both_warped(first, last, flow)
        share = torch.sigmoid(logit)
        middle = moved[0] * share + moved[1] * (1 - share)
        if refine:
            contexts = zip(self.context(first, flow[:, :2]), self.context(last, flow[:, 2:]), strict=True)
            maps = torch.cat((first, last, *moved, logit, flow), 1)
            middle = middle + self.unet(maps, [torch.cat(pair, 1) for pair in contexts])
        seen = (..., slice(height), slice(width))
        return Interpolation(middle.clamp(0, 1)[seen], flow[:, :2][seen], flow[:, 2:][seen])


def read_rife(path: Path) -> IFNet:
    """The network with the weights of a file, on the CPU, in inference mode.

    Args:
        path: ``flownet.pkl`` of RIFE v4; a zip of tensors, nothing else in it is loaded.

    Raises:
        ValueError: for a file with other tensors; all but `UNUSED` must be there, and nothing more.
    """
    state = {}
    for name, value in read_state(path).items():
        if not name.startswith(UNUSED):
            for theirs, ours in _NAMES:
                name = re.sub(theirs, ours, name)
            state[name] = value
    return fill(IFNet(), state, path)


@functools.cache
def load_rife(device: torch.device) -> IFNet:
    """The network with the published weights; once per process and device.

    Raises:
        MissingWeights: the artifact `rife-v4` is not in the cache.
    """
    return read_rife(weights_path(ARTIFACT)).to(device)
