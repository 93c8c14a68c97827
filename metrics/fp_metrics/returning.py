"""What a video last showed of the object and of the place, and how that looks when it comes back."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.functional.objects import Sighting, centred, likeness, look_of, sight
from fp_metrics.returns import GONE_BEFORE, STAYED, Kind, Return, decibels
from fp_metrics.truth import MARGIN, WorldTruth, grown

WHOLE = 0.9
"""An object that shows at least this share of itself is seen."""

HIDDEN = 0.75
"""An object that showed less than this share of itself was hidden: the rest had to be remembered."""

VANISHED = 0.25
"""An object of at most this share of its true size is not there."""

_EVERY = 4  # frames from one comparison of what stayed to the next
_LARGEST = 2.0  # times the true object: what differs more from the background is a changed place, no object


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


class WorldMemory:
    """The last look of one moving object and of the place behind it.

    Args:
        truth: says where the view and the object are.
    """

    def __init__(self, truth: WorldTruth) -> None:
        self.truth = truth
        self._object = ObjectMemory(truth)
        self._place = PlaceMemory(truth.offsets, (truth.shape.shape[0], truth.shape.shape[1]))

    def take(self, frame: Tensor, position: int) -> None:
        """Compare what has come back, then remember what is in sight."""
        seen = sight(frame.clone(), self.truth.background(position))
        self._object.take(seen, position)
        self._place.take(frame, without_object(self.truth, seen, position), position)

    def compute(self) -> list[Return]:
        """What has come back so far: of the object, then of the place."""
        return [*self._object.compute(), *self._place.compute()]


class PlaceMemory:
    """The last look of every pixel of the scene that was in sight.

    Holds one picture of all of the scene that comes into view.

    Args:
        view: ``(t, 2)``, where the view (x, y) is in the scene, pixels.
        size: height and width of the view.
    """

    def __init__(self, view: Tensor, size: tuple[int, int]) -> None:
        self._size, places = size, view.double().numpy()
        self._places = places - np.floor(places.min(0))
        width, height = np.ceil(self._places.max(0)).astype(int).tolist()
        shape = size[0] + height, size[1] + width
        self._picture = torch.zeros(3, *shape)
        self._first, self._seen = torch.full((2, *shape), -1, dtype=torch.int64)
        sums = np.zeros((2, 3, len(view) + 1))  # by gap: pixels, squared errors, SSIM
        self._sums: dict[Kind, NDArray[np.float64]] = {"place": sums[0], "recall": sums[1]}

    def take(
        self, frame: Tensor, clear: Tensor, position: int, *, true: Tensor | None = None, shown: int = 0
    ) -> None:
        """Compare what has come back with how it last looked, then remember what is in sight.

        Args:
            frame: float32 ``(3, h, w)`` in [0, 1].
            clear: bool ``(h, w)``, where it shows the place itself.
            position: of the frame.
            true: the true frame, with which what was shown truly is compared too.
            shown: frames at the beginning of the true video that this one was made from; a frame among them
                is only remembered.
        """
        now, in_sight = self._placed(frame, clear, position)
        gap = torch.where(in_sight & (self._seen >= 0), position - 1 - self._seen, -1)
        if shown <= position:
            self._compare("place", now, self._picture, gap, position)
        if shown <= position and true is not None:
            known = torch.where(self._first < shown, gap, -1)
            self._compare("recall", now, self._placed(true, clear, position)[0], known, position)
        self._picture = torch.where(in_sight, now, self._picture)
        self._first = torch.where(in_sight & (self._first < 0), position, self._first)
        self._seen = torch.where(in_sight, position, self._seen)

    def _compare(self, kind: Kind, now: Tensor, before: Tensor, gap: Tensor, position: int) -> None:
        """Add errors and SSIM of what came back, at times of what stayed, to the sums of their gaps."""
        for compared in (gap > STAYED, gap == STAYED) if position % _EVERY == 0 else (gap > STAYED,):
            if bool(compared.any()):
                rows, columns = _span(compared.any(1)), _span(compared.any(0))
                inside = compared[rows, columns]
                first, second = now[:, rows, columns], before[:, rows, columns]
                error = (first - second).square().mean(0)[inside].double().numpy()
                like = ssim_within(first, second, inside)[inside].double().numpy()
                sums, gaps = self._sums[kind], gap[compared].numpy()
                for row, values in enumerate((np.ones_like(error), error, like)):
                    sums[row] += np.bincount(gaps, values, minlength=sums.shape[1])

    def _placed(self, frame: Tensor, clear: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """The frame at its place in the scene (bilinear), and where it shows the place itself."""
        (x, y), (height, width) = self._places[position], self._seen.shape
        layers = torch.cat((frame, clear.float()[None])).movedim(0, -1).contiguous().numpy()
        placed = cv2.warpAffine(layers, np.array([[1, 0, x], [0, 1, y]]), (width, height))
        result = torch.from_numpy(np.asarray(placed, dtype=np.float32)).movedim(-1, 0)
        return result[:3], result[3] > 0.999

    def compute(self) -> list[Return]:
        """What has come back so far, gap ascending; gap 0 is what stayed."""
        view = self._size[0] * self._size[1]
        found = []
        for kind, sums in self._sums.items():
            for gap in np.flatnonzero(sums[0]):
                pixels, errors, like = sums[:, gap].tolist()
                found.append(Return(kind, int(gap), like / pixels, decibels(errors / pixels), pixels / view))
        return found


def _span(marked: Tensor) -> slice:
    """From the first to the last marked place of ``(n,)``."""
    places = marked.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)


def without_object(truth: WorldTruth, seen: Sighting, position: int) -> Tensor:
    """Where there is neither the object, truly or as seen, nor a margin around it: bool ``(h, w)``.

    The hidden part counts too: a trace of it shows through the soft edge of what hides it. What is seen far
    from the true object, or is far larger, is no object but a place that changed.
    """
    height, width = truth.shape.shape
    centre = truth.positions[position].double().numpy()
    x, y = (centre - [(width - 1) / 2, (height - 1) / 2]).tolist()
    whole = truth.shape.to(torch.uint8).numpy()
    moved = cv2.warpAffine(whole, np.array([[1, 0, x], [0, 1, y]]), (width, height), flags=cv2.INTER_NEAREST)
    mask = truth.masks[position] | (torch.from_numpy(np.asarray(moved)) > 0)
    away = float(np.linalg.norm(np.array(seen.centre) - centre))  # NaN where nothing is seen
    if away <= 2 * truth.radius and seen.area <= _LARGEST * truth.area:
        mask = mask | seen.mask
    return ~grown(mask[None], MARGIN)[0]


def cutout_psnr(first: Sighting, second: Sighting) -> float:
    """PSNR of two looks of an object moved to the middle, over the pixels of either: dB, at most 100.

    Bilinear moves blur edges: two frames of one true object read 20 to 30 dB.
    """
    either = torch.maximum(centred(first.mask, first.centre), centred(second.mask, second.centre)) > 0
    return decibels(float((_cutout(first) - _cutout(second))[:, either].square().mean()))


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
