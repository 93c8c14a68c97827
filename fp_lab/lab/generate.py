"""Videos on demand from a trained arm, section by section as they are made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_data.buckets import Bucket, place
from fp_data.clips import read_video, write_mp4
from fp_data.latents import to_frames, to_pixels
from fp_lab.codec import Codec
from fp_lab.lab.build import codec_of, videos_of
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.device import device_of
from fp_lab.lab.real import embedder, told
from fp_lab.lab.stages import RunFolder
from fp_lab.model import FramePackModel
from fp_lab.orders import plan
from fp_lab.packing.packer import kernels_of
from fp_lab.rollout import rollout
from fp_lab.section_decoder import GIVEN, decode_sections
from fp_lab.video_codec import VideoCodec, pixel_frames


@dataclass(frozen=True, eq=False)
class Opening:
    """What a video begins with.

    Attributes:
        frame: the first one, uint8 ``h w c``.
        captions: one, or one per endpoint of a planned order.
    """

    frame: Tensor
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Progressed:
    """So many sections of a video are done."""

    done: int
    sections: int


def config_of_run(folder: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The config of a finished run, with overrides (of sampling, say).

    Raises:
        ValueError: there is no trained model.
    """
    place = RunFolder(folder)
    if not place.config.is_file() or not place.model.is_dir():
        raise ValueError(
            f"no trained run in {folder}: expected config.yaml and train/model; such folders are "
            "runs/<grid>/<arm>/seed<k>"
        )
    return load(place.config, overrides)


def opening_from_seed(config: ExperimentConfig, seed: int) -> Opening:
    """The true first frame and caption of the video that a seed stands for."""
    (chunk,) = videos_of(config.data, [seed], config.data.frames, held_out=True)
    return Opening(chunk.frames[0, 0], (chunk.captions[0],))


def opening_from_image(path: Path, size: tuple[int, int], captions: Sequence[str] = ()) -> Opening:
    """A picture file (or a video's first frame) as first frame: scaled, and cut around its middle.

    Args:
        path: of the picture.
        size: height and width of the videos.
        captions: what is to be seen.

    Raises:
        ValueError: it cannot be read.
    """
    picture = torch.from_numpy(next(read_video(path))).movedim(-1, 0)[None].float()
    height, width = picture.shape[-2:]
    at = place(height, width, Bucket(*size))
    scaled = F.interpolate(picture, (at.height, at.width), mode="bilinear", antialias=True)
    cut = scaled[0, :, at.top : at.top + size[0], at.left : at.left + size[1]]
    return Opening(cut.round().clamp(0, 255).to(torch.uint8).movedim(0, -1), tuple(captions) or ("",))


def size_of(pixels: str | None, config: ExperimentConfig) -> tuple[int, int]:
    """Height and width from a text such as ``480x832``; None for the size of the config's data.

    Raises:
        ValueError: it says something else.
    """
    if pixels is None:
        return (config.data.size, config.data.size)
    height, _, width = pixels.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ValueError(f"pixels: got {pixels!r}, expected height x width, such as 480x832")
    return int(height), int(width)


def latent_count(config: ExperimentConfig, codec: Codec | VideoCodec, seconds: float) -> int:
    """Latent frames of a video of so many seconds, at the config's frame rate and with its codec."""
    return max(2, 1 + round(seconds * config.evaluation.fps / codec.temporal))


def config_of_model(model: FramePackModel, recipe: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """A config for a model that comes without its run: the recipe it was trained for, and its own context."""
    return replace(load("base", [f"recipe={recipe}", *overrides]), context=model.context)


@torch.no_grad()
def generate(
    model: FramePackModel,
    config: ExperimentConfig,
    opening: Opening,
    frames: int,
    seed: int,
    out: Path,
    *,
    codec: Codec | VideoCodec | None = None,
    preview: bool = False,
) -> Iterator[Progressed]:
    """Generate one video and write it as mp4 when its last section is done.

    Sections are decoded as they come. What is kept of them are 8-bit pixels on the CPU.

    Args:
        model: trained for the config's recipe.
        config: recipe, codec, sampling, frame rate.
        opening: first frame and caption.
        frames: length in latent frames.
        seed: of the noise.
        out: the mp4 file.
        codec: of the config, where it is loaded already.
        preview: also write what there is after every section, in the order of time, to ``NAME.preview.mp4``.

    Yields:
        After every section.

    Raises:
        ValueError: the model was trained for another recipe's kernels or other options of the context, or has
            another codec's channels.
    """
    recipe, device = config.parsed_recipe, device_of(config)
    _check(model, config)
    codec = (codec or codec_of(config.codec)).to(device)
    if codec.channels != model.backbone.channels:
        raise ValueError(
            f"the codec makes {codec.channels} channels, the model takes {model.backbone.channels}"
        )
    model = told(model, config, opening.captions).to(device).eval()
    pixels = to_pixels(opening.frame[None, None]).to(device)
    with embedder(config) as embed:
        images = None if embed is None else embed(pixels[:, :, 0]).to(device)
    first = codec.encode(pixels)
    rolled = rollout(
        model,
        recipe,
        first,
        frames=frames,
        captions=[opening.captions if len(opening.captions) > 1 else opening.captions[0]],
        seeds=[seed],
        sampling=config.sampling,
        images=images,
    )
    count, fps = len(plan(recipe, frames, fill=config.sampling.fill)), config.evaluation.fps
    video = opening.frame.repeat(pixel_frames(frames, codec.temporal), 1, 1, 1)
    there = torch.zeros(len(video), dtype=torch.bool)
    for part in decode_sections(codec, recipe, first, rolled, frames=frames):
        places = slice(part.begin, part.begin + part.pixels.shape[2])
        video[places], there[places] = to_frames(part.pixels)[0].cpu(), True
        if preview:
            write_mp4(out.with_suffix(".preview.mp4"), video[there].numpy(), fps)
        if part.index + 1 == count:
            write_mp4(out, video.numpy(), fps)
        if part.index != GIVEN:
            yield Progressed(part.index + 1, count)


def _check(model: FramePackModel, config: ExperimentConfig) -> None:
    recipe = config.parsed_recipe
    if config.context != model.context or (recipe.codebook is None) != (model.codebook is None):
        raise ValueError(
            f"the model was trained with {model.context} and {_codebook(model)}, the experiment asks for "
            f"{config.context} and recipe {recipe}; leave context and recipe as they were in training"
        )
    if missing := [kernel for kernel in kernels_of(recipe) if kernel not in model.kernels]:
        raise ValueError(
            f"recipe {recipe} needs projections for {', '.join(map(str, missing))}, the model has "
            f"{', '.join(map(str, model.kernels)) or 'none'}; use the recipe that it was trained for"
        )


def _codebook(model: FramePackModel) -> str:
    return "no codebook" if model.codebook is None else f"a codebook of {model.codebook.size}"
