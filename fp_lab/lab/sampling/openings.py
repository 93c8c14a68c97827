"""Openings of videos: nothing, a picture, or a clip to extend, with captions of the scenes."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fp_data.buckets import Bucket, BucketsConfig, buckets, nearest, place, read_bucket
from fp_data.clips import VideoInfo, read_video
from fp_lab.checks.ranges import MOST_PIXELS
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.materials.videos import videos_of

_LANDSCAPE = Bucket(480, 832)
_TIMED = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s\s*:\s*(.*)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Opening:
    """Opening of a video.

    Attributes:
        frames: given frames, uint8 ``t h w c``: none for text to video, one, or the end of a clip.
        captions: one caption, or one per scene.
        seconds: begin of each scene after the end of the opening, s; None: scenes share the video evenly.
        earlier: frames of the clip before these, shown in the video and not read by the model.
    """

    frames: Tensor
    captions: tuple[str, ...]
    seconds: tuple[float, ...] | None = None
    earlier: Callable[[], Iterable[np.ndarray]] = tuple

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video, pixels."""
        return self.frames.shape[1], self.frames.shape[2]


@dataclass(frozen=True)
class Script:
    """Captions of a video's scenes, and the begin of each; None: scenes share the video evenly."""

    captions: tuple[str, ...]
    seconds: tuple[float, ...] | None = None


def script_of(prompts: Sequence[str]) -> Script:
    """Parse scenes from texts such as ``it runs`` and ``3s: it rests``.

    Raises:
        ValueError: only some scenes after the first have a time, times do not ascend from 0, or a text is no
            UTF-8.
    """
    if broken := [prompt for prompt in prompts if any("\ud800" <= letter <= "\udfff" for letter in prompt)]:
        raise ValueError(f"prompt: got {broken[0]!r}, expected UTF-8 text")
    timed = [_TIMED.fullmatch(prompt) for prompt in prompts]
    if not any(timed):
        return Script(tuple(prompts) or ("",))
    seconds, captions = [], []
    for index, (prompt, match) in enumerate(zip(prompts, timed, strict=True)):
        if match is None and index:
            raise ValueError(
                f"prompt: got {prompt!r} beside timed ones, expected a time for it too, such as "
                f"{f'3s: {prompt}'!r}; only the first prompt begins by itself"
            )
        seconds.append(0.0 if match is None else float(match[1]))
        captions.append(prompt if match is None else match[2])
    if seconds[0] or seconds != sorted(set(seconds)):
        raise ValueError(f"prompt: got scenes that begin at {seconds} s, expected times that ascend from 0")
    return Script(tuple(captions), tuple(seconds))


def size_of(pixels: str | None, trained: Sequence[Bucket] = (), picture: Path | None = None) -> Bucket:
    """Choose height and width of a video.

    Args:
        pixels: size as text, such as ``480x832``, which decides where given.
        trained: training sizes of the model, the most frequent one first; empty: those of 480p.
        picture: picture or clip that the video begins with; the size nearest in shape is taken.

    Raises:
        ValueError: the text is no size, or one beyond `MOST_PIXELS`.
    """
    if pixels is not None:
        height, _, width = pixels.partition("x")
        if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
            raise ValueError(f"pixels: got {pixels!r}, expected height x width, such as 480x832")
        if max(int(height), int(width)) > MOST_PIXELS:
            raise ValueError(f"pixels: got {pixels!r}, expected at most {MOST_PIXELS} a side")
        return Bucket(int(height), int(width))
    sizes = tuple(trained) or (_LANDSCAPE, *buckets(BucketsConfig()))
    if picture is None:
        return sizes[0]
    height, width = next(iter(read_video(picture))).shape[:2]
    return nearest(sizes, height, width)


def opening_from_text(size: Bucket, script: Script) -> Opening:
    """Open with text alone."""
    return Opening(
        torch.zeros(0, size.height, size.width, 3, dtype=torch.uint8), script.captions, script.seconds
    )


def opening_from_seed(config: ExperimentConfig, seed: int, script: Script | None = None) -> Opening:
    """Open with the true first frame of a seed's video, and its caption where there is no script."""
    (chunk,) = videos_of(config.data, [seed], config.data.frames, held_out=True)
    script = script or Script((chunk.captions[0],))
    return Opening(chunk.frames[0, :1], script.captions, script.seconds)


def opening_from_image(path: Path, size: Bucket, script: Script) -> Opening:
    """Open with a picture file (or a video's first frame), scaled and cropped around the centre.

    Args:
        path: path of the picture.
        size: height and width of the video.
        script: captions of the scenes.

    Raises:
        ValueError: the picture cannot be read.
    """
    picture = torch.from_numpy(next(iter(read_video(path)))).movedim(-1, 0)[None].float()
    height, width = picture.shape[-2:]
    at = place(height, width, size)
    scaled = F.interpolate(picture, (at.height, at.width), mode="bilinear", antialias=True)
    cut = scaled[0, :, at.top : at.top + size.height, at.left : at.left + size.width]
    frame = cut.round().clamp(0, 255).to(torch.uint8).movedim(0, -1)
    return Opening(frame[None], script.captions, script.seconds)


def opening_from_video(clip: VideoInfo, size: Bucket, script: Script, *, frames: int, fps: float) -> Opening:
    """Open with the end of a clip, which the video extends.

    Args:
        clip: facts of the clip by `fp_data.clips.probe`.
        size: height and width of the video, to which the clip is scaled and cropped.
        script: captions of the scenes.
        frames: number of frames of the clip's end to use; at most its length.
        fps: frame rate of the video; of a clip with twice that rate every second frame is read.

    Raises:
        ValueError: the clip cannot be read, or is shorter.
    """
    step = max(1, round(clip.fps / fps))
    first = clip.frames - 1 - (frames - 1) * step
    if first < 0:
        raise ValueError(
            f"{clip.path}: has {clip.frames} frames at {clip.fps:g} per second, expected at least "
            f"{(frames - 1) * step + 1}, for {frames} at {fps:g} per second"
        )
    read = torch.stack([torch.from_numpy(frame) for frame in read_bucket(clip, size, first, None, step)])

    def earlier() -> Iterable[np.ndarray]:
        return read_bucket(clip, size, first % step, first, step) if first >= step else ()

    return Opening(read, script.captions, script.seconds, earlier)


def frames_to_extend(clip: VideoInfo, config: ExperimentConfig, codec: LatentCodec) -> int:
    """Number of frames of a clip's end that a model reads: as many as its recipe packs before a section.

    At least one, and no more than the clip has; for block-causal attention the first and whole blocks.
    """
    recipe = config.parsed_recipe
    there = 1 + (clip.frames - 1) // max(1, round(clip.fps / config.evaluation.fps))
    wanted = max(1, sum(run.frames for run in recipe.left.runs))
    latents = min(wanted, 1 + (there - 1) // codec.temporal)
    if config.context.attention == "block_causal":
        latents -= (latents - 1) % recipe.section
    return pixel_frames(latents, codec.temporal)
