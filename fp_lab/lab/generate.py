"""Videos on demand from a trained arm, section by section as they are made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_data.clips import read_video, write_mp4
from fp_data.latents import to_frames, to_pixels
from fp_lab.codec import Codec
from fp_lab.lab.build import device_of, videos_of
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.stages import RunFolder
from fp_lab.model import FramePackModel
from fp_lab.orders import plan
from fp_lab.packing.packer import kernels_of
from fp_lab.rollout import rollout


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


def opening_from_image(path: Path, size: int, captions: Sequence[str] = ()) -> Opening:
    """A picture file (or a video's first frame) as first frame: its middle square, scaled.

    Args:
        path: of the picture.
        size: height and width of the videos.
        captions: what is to be seen.

    Raises:
        ValueError: it cannot be read.
    """
    picture = torch.from_numpy(next(read_video(path))).movedim(-1, 0)[None].float()
    side = min(picture.shape[-2:])
    top, left = ((length - side) // 2 for length in picture.shape[-2:])
    square = picture[..., top : top + side, left : left + side]
    scaled = F.interpolate(square, (size, size), mode="bilinear", antialias=True)
    return Opening(scaled[0].round().clamp(0, 255).to(torch.uint8).movedim(0, -1), tuple(captions) or ("",))


def config_of_model(model: FramePackModel, recipe: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """A config for a model that comes without its run: the recipe it was trained for, and its own context."""
    return replace(load("base", [f"recipe={recipe}", *overrides]), context=model.context)


@torch.no_grad()
def generate(
    model: FramePackModel, config: ExperimentConfig, opening: Opening, frames: int, seed: int, out: Path
) -> Iterator[Progressed]:
    """Generate one video and write it as mp4 when its last section is done.

    Args:
        model: trained for the config's recipe.
        config: recipe, codec, sampling, frame rate.
        opening: first frame and caption.
        frames: length.
        seed: of the noise.
        out: the mp4 file.

    Yields:
        After every section.

    Raises:
        ValueError: the model was trained for another recipe's kernels or other options of the context, or has
            another codec's channels.
    """
    recipe, device = config.parsed_recipe, device_of(config)
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
    codec = Codec.load(config.codec.source).to(device)
    if codec.channels != model.backbone.channels:
        raise ValueError(
            f"the codec makes {codec.channels} channels, the model takes {model.backbone.channels}"
        )
    first = codec.encode(to_pixels(opening.frame[None, None]).to(device))
    latents = first.repeat(1, 1, frames, 1, 1)
    sections = plan(recipe, frames, fill=config.sampling.fill)
    for rolled in rollout(
        model.to(device).eval(),
        recipe,
        first,
        frames=frames,
        captions=[opening.captions if len(opening.captions) > 1 else opening.captions[0]],
        seeds=[seed],
        sampling=config.sampling,
    ):
        latents[:, :, list(rolled.section.targets)] = rolled.latents
        if rolled.index + 1 == len(sections):
            write_mp4(out, to_frames(codec.decode(latents))[0].cpu().numpy(), config.evaluation.fps)
        yield Progressed(rolled.index + 1, len(sections))


def _codebook(model: FramePackModel) -> str:
    return "no codebook" if model.codebook is None else f"a codebook of {model.codebook.size}"
