"""Latents to pixels section by section, with bounded memory, as the released code does it.

A video codec decodes a stretch of latent frames by itself, but its first frame then stands for one pixel
frame instead of four, and knows nothing of what came before. Hence every section is decoded with up to one
section's length of its neighbours, and where both have the same pixel frames, these cross-fade. On a video
that grows at one end this is the released forward and inverted decoding (FramePack's `soft_append_bcthw`,
`HunyuanVideoFramepackPipeline._soft_append`); the same rule closes the gaps of every other order.

Place of pixel frames: latent frame a of a codec that makes four frames of one ends at pixel frame 4a, so the
stretch a, ..., z gives the pixel frames 4a, ..., 4z.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.checks.finite import check_video
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.video import pixel_frames
from fp_lab.recipe import Recipe
from fp_lab.recipe.lengths import stretches
from fp_lab.sampling.rollout import RolledSection

GIVEN = -1
"""Index of a part that no section made: given frames."""


@dataclass(frozen=True, eq=False)
class DecodedPart:
    """Pixels of a section, and of its neighbours as far as they change by it.

    Attributes:
        index: of the section, in generation order; `GIVEN` for given frames.
        begin: place of the first of `pixels` in the video, counted in pixel frames.
        pixels: ``b c t h w`` in [-1, 1].
        final: places of the pixel frames that no later part changes. Every pixel frame of the video is final
            in exactly one part; until then it is a preview, which later parts replace.
    """

    index: int
    begin: int
    pixels: Tensor
    final: range

    @property
    def final_pixels(self) -> Tensor:
        """Pixels of the final frames, ``b c t h w``."""
        return self.pixels[:, :, self.final.start - self.begin : self.final.stop - self.begin]


@torch.no_grad()
def decode_sections(
    codec: LatentCodec, recipe: Recipe, given: Tensor, rolled: Iterable[RolledSection], *, frames: int
) -> Iterator[DecodedPart]:
    """Decode a rollout while it goes on.

    The codec never sees more than three sections' length of latent frames (two in the forward order and in
    the inverted one, where the first frame comes on top). Kept are the last section's length of latent and
    pixel frames beside every gap that is still open: one gap in these two orders, so memory does not grow.

    Args:
        codec: of the latents.
        recipe: names the section length.
        given: latents ``b c t h w`` that the video begins with. A single frame is decoded together with the
            section beside it.
        rolled: sections in generation order.
        frames: length of the video in latent frames.

    Yields:
        Parts in generation order; one per section, but for sections that are not consecutive or longer than
        the recipe's, which give several.

    Raises:
        ValueError: more frames given than the video has, or, at the end, sections that do not cover it.
        NotFinite: naming the section whose pixels are not.
    """
    count = given.shape[2]
    if count > frames:
        raise ValueError(f"got {count} given frames, expected at most the {frames} of the video")
    decoder = _Decoder(codec, recipe.section, frames)
    if decoder.reach and count == 1 < frames:
        decoder.learn(0, given)
    else:
        yield from decoder.add(GIVEN, range(count), given)
    for done in rolled:
        yield from map(_checked, decoder.add(done.index, done.section.targets, done.latents))
    if len(decoder.known) != frames:
        raise ValueError(
            f"sections and given frames came to {len(decoder.known)} latent frames, expected the {frames} of "
            "the video; give the length that the rollout was given"
        )


def _checked(part: DecodedPart) -> DecodedPart:
    check_video(part.pixels, f"section {part.index + 1}: decoded frames")
    return part


@torch.no_grad()
def decode_whole(codec: LatentCodec, latents: Tensor, section: int) -> Iterator[DecodedPart]:
    """Decode a finished video ``b c t h w`` in bounded memory, as if it had been made forward in sections.

    Yields:
        Parts in the order of time.
    """
    frames = latents.shape[2]
    decoder = _Decoder(codec, section, frames)
    first = 1 if decoder.reach and frames > 1 else 0
    decoder.learn(0, latents[:, :, :first])
    for index, stretch in enumerate(stretches(range(first, frames), section)):
        yield from decoder.add(index, stretch, latents[:, :, stretch.start : stretch.stop])


def cross_fade(earlier: Tensor, later: Tensor) -> Tensor:
    """Go over from one rendering ``b c t h w`` of the same frames to another, linearly in time.

    The first frame is the earlier stretch's, the last the later one's.
    """
    # ends included, as `soft_append_bcthw`
    weights = torch.linspace(1, 0, earlier.shape[2], dtype=earlier.dtype, device=earlier.device)
    weights = weights[:, None, None]
    return weights * earlier + (1 - weights) * later


class _Decoder:
    """What is known of a video, and those of its frames that may still change."""

    def __init__(self, codec: LatentCodec, section: int, frames: int) -> None:
        self.codec, self.section, self.frames = codec, section, frames
        self.temporal = codec.temporal
        self.reach = 0 if self.temporal == 1 else section  # frames of their own have no seams
        self.known: set[int] = set()
        self.latents: dict[int, Tensor] = {}
        self.pending: dict[int, Tensor] = {}  # pixel frames before clamping

    def learn(self, begin: int, latents: Tensor) -> None:
        """Consecutive latent frames ``b c t h w``, to be decoded together with what comes beside them."""
        for frame, latent in enumerate(latents.unbind(2), begin):
            self.known.add(frame)
            self.latents[frame] = latent

    def add(self, index: int, targets: Sequence[int], latents: Tensor) -> Iterator[DecodedPart]:
        """Latents ``b c t h w`` of frames that ascend, decoded in stretches of a section at most."""
        for stretch in stretches(targets, self.section):
            offset = targets.index(stretch.start)
            self.learn(stretch.start, latents[:, :, offset : offset + len(stretch)])
            yield self._decode(index, stretch)

    def _decode(self, index: int, stretch: range) -> DecodedPart:
        window = self._window(stretch)
        latents = torch.stack([self.latents[frame] for frame in window], 2)
        pixels = self.codec.decode(latents, clamp=False)
        begin = self.temporal * window.start
        assert pixels.shape[2] == pixel_frames(len(window), self.temporal)
        # frames that both stretches made: of L latent frames in common 4 (L - 1) + 1 pixel frames
        last_before, first_after = self.temporal * (stretch.start - 1), self.temporal * stretch.stop
        before = [place for place in range(begin, last_before + 1) if place in self.pending]
        after = [place for place in range(first_after, begin + pixels.shape[2]) if place in self.pending]
        if before:
            faded = cross_fade(self._taken(before), pixels[:, :, : len(before)])
            pixels = torch.cat([faded, pixels[:, :, len(before) :]], 2)
        if after:
            faded = cross_fade(pixels[:, :, -len(after) :], self._taken(after))
            pixels = torch.cat([pixels[:, :, : -len(after)], faded], 2)
        # clamped last: clamping and fading do not commute
        return DecodedPart(index, begin, pixels.clamp(-1, 1), self._settle(begin, pixels))

    def _window(self, stretch: range) -> range:
        """A stretch with its known neighbours, as far as it reaches."""
        begin, stop = stretch.start, stretch.stop
        while stretch.start - begin < self.reach and begin - 1 in self.known:
            begin -= 1
        while stop - stretch.stop < self.reach and stop in self.known:
            stop += 1
        return range(begin, stop)

    def _taken(self, places: list[int]) -> Tensor:
        return torch.stack([self.pending.pop(place) for place in places], 2)

    def _settle(self, begin: int, pixels: Tensor) -> range:
        """Keep what may still change, forget the rest; the places of the frames that are final now."""
        final = []
        for place, frame in enumerate(pixels.unbind(2), begin):
            # pixel frame p lies between latent frames floor(p / 4) and ceil(p / 4)
            if self._is_closed(-(-place // self.temporal), place // self.temporal):
                final.append(place)
            else:
                self.pending[place] = frame.clone()  # not a view: it would keep all pixels alive
        self.latents = {
            frame: latent for frame, latent in self.latents.items() if not self._is_closed(frame, frame)
        }
        return range(final[0], final[-1] + 1) if final else range(begin, begin)

    def _is_closed(self, after: int, before: int) -> bool:
        """Whether all latent frames are known that reach from `after` down and from `before` up."""
        # no later window can reach a frame whose neighbours within reach are all known
        near = range(max(0, after - self.reach), min(self.frames, before + self.reach + 1))
        return all(frame in self.known for frame in near)
