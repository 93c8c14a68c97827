"""What a video last showed of the object and of the place, and how that looks when it comes back."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.functional.objects import Sighting, centred, likeness, look_of
from fp_metrics.truth import WorldTruth

Kind = Literal["object", "place"]

WHOLE = 0.9
"""An object that shows at least this share of itself is seen."""

HIDDEN = 0.75
"""An object that showed less than this share of itself was hidden: the rest had to be remembered."""

VANISHED = 0.25
"""An object of at most this share of its true size is not there."""

STAYED = 0
"""The gap of what stayed in sight."""

GONE_BEFORE = "the object was gone before it was hidden"

_EVERY = 4  # frames from one comparison of what stayed to the next
_MARGIN = 3  # pixels around the object that show something of it
_LARGEST = 2.0  # times the true object: what differs more from the background is a changed place, no object


@dataclass(frozen=True)
class Return:
    """Something that came back, or stayed.

    Attributes:
        kind: the object, or a part of the place.
        gap: frames in which it was not seen (of the object: not seen whole); 0: it stayed in sight.
        agreement: with how it last looked. Of the object: `likeness`, 0 where it vanished; of the place: mean
            SSIM of its pixels. NaN where there was nothing to remember.
        psnr: dB, at most 100, of the object moved to the middle, or of the place; 0 where the object
            vanished.
        weight: 1 for the object; for a place the pixels that came back after this gap, in views.
        reason: why agreement is undefined; None when it is defined.
    """

    kind: Kind
    gap: int
    agreement: float
    psnr: float
    weight: float = 1.0
    reason: str | None = None


class ObjectMemory:
    """The last sighting of the whole object.

    Args:
        truth: says how much of the object is in sight.
    """

    def __init__(self, truth: WorldTruth) -> None:
        self.truth = truth
        self._last: tuple[int, Sighting] | None = None
        self._hidden = False
        self._returns: list[Return] = []
        self._stayed = np.zeros(3)  # comparisons, sums of agreement and of PSNR

    def take(self, seen: Sighting, position: int) -> None:
        """Compare the object, where it is whole, with how it last was, then remember this sighting."""
        shown = self.truth.visible_area(position) / self.truth.area
        self._hidden |= shown < HIDDEN
        if shown < WHOLE:
            return
        if self._last is not None:
            left, before = self._last
            if self._hidden:
                self._returns.append(self._compare(left, before, position, seen))
            elif left == position - 1 and position % _EVERY == 0 and before.area and seen.area:
                self._stayed += 1, likeness(look_of(before), look_of(seen)), cutout_psnr(before, seen)
        self._last, self._hidden = (position, seen), False

    def _compare(self, left: int, before: Sighting, returned: int, after: Sighting) -> Return:
        gap = returned - left - 1
        if self._vanished(before, left):
            return Return("object", gap, float("nan"), float("nan"), reason=GONE_BEFORE)
        if self._vanished(after, returned):
            return Return("object", gap, 0.0, 0.0)
        return Return("object", gap, likeness(look_of(before), look_of(after)), cutout_psnr(before, after))

    def _vanished(self, seen: Sighting, position: int) -> bool:
        return seen.area <= VANISHED * self.truth.sighting(position).area

    def compute(self) -> list[Return]:
        """What has come back so far, in the order in which it did; first what stayed, if anything did."""
        count, agreement, decibels = self._stayed.tolist()
        stayed = [Return("object", STAYED, agreement / count, decibels / count)] if count else []
        return [*stayed, *self._returns]


class PlaceMemory:
    """The last look of every pixel of the scene that was in view; the object in front is no part of it.

    Holds one picture of all of the scene that comes into view.

    Args:
        truth: says where the view and the object are.
    """

    def __init__(self, truth: WorldTruth) -> None:
        self.truth = truth
        offsets = truth.offsets.double().numpy()
        self._origin = np.floor(offsets.min(0))
        span = np.ceil(offsets.max(0)) - self._origin
        height, width = (
            side + int(far) for side, far in zip(truth.shape.shape, (span[1], span[0]), strict=True)
        )
        self._picture = torch.zeros(3, height, width)
        self._seen = torch.full((height, width), -1, dtype=torch.int64)
        self._sums = np.zeros((3, truth.length + 1))  # by gap: pixels, squared errors, SSIM

    def take(self, seen: Sighting, position: int) -> None:
        """Compare what has come back with how it last looked, then remember what is in sight."""
        now, shown = self._placed(seen, position)
        gap = torch.where(shown & (self._seen >= 0), position - 1 - self._seen, -1)
        self._compare(now, gap, gap > STAYED)
        if position % _EVERY == 0:
            self._compare(now, gap, gap == STAYED)
        self._picture = torch.where(shown, now, self._picture)
        self._seen = torch.where(shown, position, self._seen)

    def _compare(self, now: Tensor, gap: Tensor, compared: Tensor) -> None:
        """Add squared errors and SSIM of the compared pixels to the sums of their gaps."""
        if not bool(compared.any()):
            return
        error = (now - self._picture).square().mean(0)[compared].double().numpy()
        like = ssim_within(now, self._picture, compared)[compared].double().numpy()
        for row, values in enumerate((np.ones_like(error), error, like)):
            self._sums[row] += np.bincount(gap[compared].numpy(), values, minlength=self._sums.shape[1])

    def _placed(self, seen: Sighting, position: int) -> tuple[Tensor, Tensor]:
        """The frame at its place in the scene (bilinear), and where it shows the place itself."""
        x, y = self.truth.offsets[position].double().numpy() - self._origin
        free = (~self._object(seen, position)).float()
        layers = torch.cat((seen.frame, free[None])).movedim(0, -1).contiguous().numpy()
        height, width = self._seen.shape
        placed = cv2.warpAffine(layers, np.array([[1, 0, x], [0, 1, y]]), (width, height))
        result = torch.from_numpy(np.asarray(placed, dtype=np.float32)).movedim(-1, 0)
        return result[:3], result[3] > 0.999

    def _object(self, seen: Sighting, position: int) -> Tensor:
        """Where the object is, truly or as seen, and a margin around it: bool ``(h, w)``.

        The hidden part too: a trace of it shows through the soft edge of what hides it. What is seen far from
        the true object, or is far larger, is no object but a place that changed.
        """
        height, width = self.truth.shape.shape
        centre = self.truth.positions[position].double().numpy()
        x, y = (centre - [(width - 1) / 2, (height - 1) / 2]).tolist()
        whole = self.truth.shape.to(torch.uint8).numpy()
        moved = cv2.warpAffine(
            whole, np.array([[1, 0, x], [0, 1, y]]), (width, height), flags=cv2.INTER_NEAREST
        )
        mask = self.truth.masks[position] | (torch.from_numpy(np.asarray(moved)) > 0)
        away = float(np.linalg.norm(np.array(seen.centre) - centre))  # NaN where nothing is seen
        if away <= 2 * self.truth.radius and seen.area <= _LARGEST * self.truth.area:
            mask = mask | seen.mask
        size = 2 * _MARGIN + 1
        return F.max_pool2d(mask.float()[None, None], size, stride=1, padding=_MARGIN)[0, 0] > 0

    def compute(self) -> list[Return]:
        """What has come back so far, gap ascending; gap 0 is what stayed."""
        view = self.truth.shape.numel()
        found = []
        for gap in np.flatnonzero(self._sums[0]):
            pixels, errors, like = self._sums[:, gap].tolist()
            decibels = min(100.0, -10 * float(np.log10(max(1e-10, errors / pixels))))
            found.append(Return("place", int(gap), like / pixels, decibels, pixels / view))
        return found


def cutout_psnr(first: Sighting, second: Sighting) -> float:
    """PSNR of two looks of an object moved to the middle, over the pixels of either: dB, at most 100.

    Bilinear moves blur edges: two frames of one true object read 20 to 30 dB.
    """
    either = torch.maximum(centred(first.mask, first.centre), centred(second.mask, second.centre)) > 0
    error = (_cutout(first) - _cutout(second))[:, either].square().mean()
    return float((-10 * torch.log10(error.clamp(min=1e-10))).clamp(max=100))


def _cutout(seen: Sighting) -> Tensor:
    return centred(seen.frame * seen.mask, seen.centre)


def ssim_within(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """SSIM around each pixel ``(h, w)`` of two pictures ``(3, h, w)`` in [0, 1]; sees masked pixels only.

    Gaussian window of 11x11, sigma 1.5, its weights divided by their sum over the mask; mean over channels.
    Equals the usual SSIM wherever the whole window is masked. Meaningless outside the mask.

    Args:
        first: one picture.
        second: the other.
        mask: bool ``(h, w)``.

    Source:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP
        2004.
    """
    weights = mask.to(first.dtype)
    pictures = torch.cat((torch.ones_like(weights)[None], first, second, first**2, second**2, first * second))
    kernel = torch.exp(-(torch.arange(-5, 6, dtype=first.dtype) ** 2) / (2 * 1.5**2))
    sums = F.conv2d((pictures * weights)[:, None], kernel[None, None, None], padding=(0, 5))
    sums = F.conv2d(sums, kernel[None, None, :, None], padding=(5, 0))
    means = sums[1:, 0] / sums[0].clamp(min=1e-12)
    one, two, one_squared, two_squared, product = means.unflatten(0, (5, 3))
    light = (2 * one * two + 0.01**2) / (one**2 + two**2 + 0.01**2)
    spread = (one_squared - one**2).clamp(min=0) + (two_squared - two**2).clamp(min=0)
    return (light * (2 * (product - one * two) + 0.03**2) / (spread + 0.03**2)).mean(0)
