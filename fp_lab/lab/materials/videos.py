"""Videos that a config names, by seed: renders of a world or windows of clips."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch

from fp_data.clips import ClipsConfig, sample, scan
from fp_data.latents import VideoChunk
from fp_data.worlds import WorldConfig, iterate
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import DataConfig, ExperimentConfig
from fp_lab.lab.files.video_batch import GIVEN, Videos, contents_of
from fp_lab.lab.provenance.data_identity import clips_folder

CLIPS_AT_ONCE = 8


def evaluation_videos(config: ExperimentConfig, temporal: int = 1) -> Videos:
    """Return the true videos of the evaluation set; for clips, windows that training never sees.

    Args:
        config: settings of the arm.
        temporal: number of frames per latent frame of the codec.
    """
    evaluation = config.evaluation
    frames = pixel_frames(evaluation.frames, temporal)
    chunks = list(videos_of(config.data, evaluation.seeds, frames, held_out=True))
    pixels = torch.cat([chunk.frames for chunk in chunks])
    return Videos(
        frames=pixels,
        captions=tuple(caption for chunk in chunks for caption in chunk.captions),
        seeds=tuple(evaluation.seeds),
        order=(GIVEN,) * frames,
        fps=evaluation.fps,
        contents=contents_of(pixels),
        own_scenes=config.data.kind == "world",
    )


def videos_of(data: DataConfig, seeds: Sequence[int], frames: int, *, held_out: bool) -> Iterator[VideoChunk]:
    """Yield videos by seed, a few at a time.

    Args:
        data: settings of the videos.
        seeds: one seed per video.
        frames: length of each video.
        held_out: whether clips are cut from the part that training never sees.
    """
    return VIDEOS[data.kind](data, seeds, frames, held_out)


def _world_videos(
    data: DataConfig, seeds: Sequence[int], frames: int, held_out: bool
) -> Iterator[VideoChunk]:
    return world_videos(replace(data.world, frames=frames), seeds)


def world_videos(world: WorldConfig, seeds: Sequence[int]) -> Iterator[VideoChunk]:
    """Yield renders of a world, a few at a time."""
    left = iter(seeds)
    for part in iterate(world, seeds):
        yield VideoChunk(part.frames, part.captions, tuple(islice(left, len(part.frames))))


def clips_of(data: DataConfig, frames: int, *, held_out: bool) -> ClipsConfig:
    """Yield windows of clips, see `videos_of`."""
    split = data.clips.split if data.clips.split == "all" else "held_out" if held_out else "train"
    return replace(clips_folder(data.clips), frames=frames, split=split)


def _clip_videos(data: DataConfig, seeds: Sequence[int], frames: int, held_out: bool) -> Iterator[VideoChunk]:
    clips = clips_of(data, frames, held_out=held_out)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a file that is skipped is news, not an error
        usable = scan(clips).usable
    for begin in range(0, len(seeds), CLIPS_AT_ONCE):
        part = tuple(seeds[begin : begin + CLIPS_AT_ONCE])
        cut = [sample(usable, clips, seed) for seed in part]
        windows = torch.stack([torch.from_numpy(clip.frames) for clip in cut])
        yield VideoChunk(windows, tuple(clip.caption for clip in cut), part)


VIDEOS: dict[str, Callable[[DataConfig, Sequence[int], int, bool], Iterator[VideoChunk]]] = {
    "world": _world_videos,
    "clips": _clip_videos,
}
