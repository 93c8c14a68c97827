"""Videos on demand from a trained or a released model, section by section as they are made."""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fp_data.clips import write_mp4
from fp_data.latents import to_frames, to_pixels
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import attach_text_embeddings, embedder
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.places import check_file
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.materials.models import codec_of
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.environment import environment, git_state
from fp_lab.lab.sampling.offload import Offload, in_turns, place_model
from fp_lab.lab.sampling.resume import KeptSections
from fp_lab.lab.sampling.start import Opening
from fp_lab.model import FramePackModel
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe.lengths import sections_in
from fp_lab.recipe.orders import plan
from fp_lab.sampling.decode_sections import GIVEN, decode_sections
from fp_lab.sampling.rollout import RolledSection, rollout
from fp_lab.weights.files import tensors_sha256

USUAL_LENGTH = 64
"""Latent frames of a video whose length is not said, about."""
_LONGEST_STEM = 220  # bytes; file systems take 255, and endings and marks of unfinished files come on top


@dataclass(frozen=True)
class Progressed:
    """So many sections of a video are done."""

    done: int
    sections: int


def length_of(
    config: ExperimentConfig,
    codec: LatentCodec,
    given: int,
    seconds: float | None = None,
    frames: int | None = None,
) -> int:
    """Length of a video in latent frames, the given ones included: whole sections, unless frames are said.

    Args:
        config: recipe and frame rate.
        codec: how many frames a latent frame stands for.
        given: latent frames of the opening.
        seconds: behind the opening, about; None with no frames either: what makes `USUAL_LENGTH`, about.
        frames: latent frames, of an opening the last one included; followed as they are.
    """
    if frames is not None:
        return frames - 1 + max(given, 1)
    section = config.parsed_recipe.section
    if seconds is None:
        return given + section * max(1, round((USUAL_LENGTH - 1) / section))
    return given + section * sections_in(seconds, config.evaluation.fps, codec.temporal, section)


@torch.no_grad()
def generate(
    model: FramePackModel,
    config: ExperimentConfig,
    opening: Opening,
    frames: int,
    seed: int,
    out: Path,
    *,
    codec: LatentCodec | None = None,
    preview: bool = False,
    offload: Offload = "none",
) -> Iterator[Progressed]:
    """Generate one video; write it as mp4, its captions as txt and what made it as json.

    Sections are decoded as they come; what is kept of them are 8-bit pixels on disk. An interrupted video
    goes on behind its last finished section: they lie in ``NAME.sections`` until the end.

    Args:
        model: trained for the config's recipe.
        config: recipe, codec, sampling, frame rate.
        opening: what the video begins with.
        frames: length in latent frames, those of the opening included.
        seed: of the noise.
        out: the mp4 file.
        codec: of the config, where it is loaded already.
        preview: also write what there is after every section, in the order of time, to ``NAME.preview.mp4``.
        offload: what need not be on the device together.

    Yields:
        After every section.

    Raises:
        ValueError: the model was trained for another recipe's kernels or other options of the context, has
            another codec's channels, or is told a first frame where there is none; or `out` is no name for a
            video and the files beside it.
    """
    check_output(out)
    recipe, device = config.parsed_recipe, device_of(config)
    codec = (codec or codec_of(config.codec)).to(device)
    _check(model, config, codec)
    model = attach_text_embeddings(model, config, opening.captions).eval()
    given, images = _given(config, codec, opening, device)
    place_model(model, device, offload)
    scenes = _scenes(config, opening, codec, given.shape[2])
    made_by = _made_by(model, config, opening, frames, seed)
    kept = KeptSections(out.with_suffix(".sections"), digest(made_by))
    rolled: Iterator[RolledSection] = rollout(
        model,
        recipe,
        given,
        frames=frames,
        captions=[opening.captions if len(opening.captions) > 1 else opening.captions[0]],
        seeds=[seed],
        sampling=config.sampling,
        images=images,
        scenes=scenes,
        made=kept,
    )
    rolled = kept.keeping(rolled)
    if offload != "none":
        rolled = in_turns(rolled, model, codec, device)
    count = len(plan(recipe, frames, given=frozenset(range(given.shape[2])), fill=config.sampling.fill))
    video = _Canvas(out, opening, pixel_frames(frames, codec.temporal))
    for part in decode_sections(codec, recipe, given, rolled, frames=frames):
        if part.index == GIVEN:  # frames that there are
            continue
        video.put(part.begin, to_frames(part.pixels)[0].cpu().numpy())
        if preview:
            write_mp4(out.with_suffix(".preview.mp4"), video.there(), config.evaluation.fps)
        yield Progressed(part.index + 1, count)
    write_mp4(out, video.there(), config.evaluation.fps)
    _tell(out, made_by)
    kept.remove()


class _Canvas:
    """A video's frames, in a file that is gone with them: memory does not grow with the video."""

    def __init__(self, out: Path, opening: Opening, length: int) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        shape = (length, *opening.size, 3)
        with tempfile.TemporaryFile(dir=out.parent) as file:
            if hasattr(os, "posix_fallocate"):  # a disk that is too full says so now, not by a crash
                os.posix_fallocate(file.fileno(), 0, math.prod(shape))
            self._frames = np.memmap(file, np.uint8, "r+", shape=shape)
        self._known = np.zeros(length, dtype=bool)
        self._earlier = opening.earlier
        self.put(0, opening.frames.numpy())

    def put(self, begin: int, frames: np.ndarray) -> None:
        """Frames ``t h w c`` from a place on."""
        places = slice(begin, begin + len(frames))
        self._frames[places], self._known[places] = frames, True

    def there(self) -> Iterator[np.ndarray]:
        """What there is, in the order of time, with what lies before it."""
        return chain(self._earlier(), (self._frames[place] for place in np.flatnonzero(self._known)))


def _given(
    config: ExperimentConfig, codec: LatentCodec, opening: Opening, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Latents ``1 c t h w`` of an opening; its first frame's embedding for models that are told it."""
    height, width = opening.size
    if height % codec.spatial or width % codec.spatial:
        raise ValueError(
            f"pixels: got {height}x{width}, expected multiples of {codec.spatial}, of which the codec makes "
            "one latent"
        )
    with embedder(config) as embed:
        if len(opening.frames):
            pixels = to_pixels(opening.frames[None]).to(device)
            return codec.encode(pixels), None if embed is None else embed(pixels[:, :, 0]).to(device)
        if embed is not None:
            raise ValueError(
                "got text alone for a model that is told the first frame, expected a picture or a clip too; "
                "for text to video take a text-to-video model, such as HunyuanVideo or Wan T2V"
            )
    size = (height // codec.spatial, width // codec.spatial)
    return torch.zeros(1, codec.channels, 0, *size, device=device), None


def _scenes(
    config: ExperimentConfig, opening: Opening, codec: LatentCodec, given: int
) -> tuple[int, ...] | None:
    """First latent frame of every scene."""
    if opening.seconds is None:
        return None
    rate = config.evaluation.fps / codec.temporal
    return tuple(round(begin * rate) + max(given - 1, 0) if begin else 0 for begin in opening.seconds)


def _made_by(
    model: FramePackModel, config: ExperimentConfig, opening: Opening, frames: int, seed: int
) -> dict[str, Any]:
    """All that a video depends on."""
    weights = {"model": model.sha256, "codec": weights_sha256("codec", config.codec.source)}
    if model.source is not None:
        weights["base"] = weights_sha256("base", model.source)
    return {
        "captions": opening.captions,
        "seconds": opening.seconds,
        "opening": tensors_sha256({"frames": opening.frames}),
        "frames": frames,
        "seed": seed,
        "weights": weights,
        "config": asdict(config),
    }


def check_output(out: Path) -> None:
    """Refuse a place that the video, or a file beside it, could not have: before it is made, not after.

    Raises:
        ValueError: a folder, the name of a file beside it, too long a name, or nothing that can be written.
    """
    check_file("out", out)
    if out.suffix.lower() in (".txt", ".json", ".sections"):
        raise ValueError(f"got out={str(out)!r}, expected the name of an mp4 file; its captions go beside it")
    if (length := len(os.fsencode(out.stem))) > _LONGEST_STEM:
        raise ValueError(
            f"got out={str(out)!r}, a name of {length} bytes without its ending; expected {_LONGEST_STEM} at "
            "most: further files are named after it"
        )


def _tell(out: Path, made_by: dict[str, Any]) -> None:
    """Captions, for `fp-lab evaluate`, and where the video is from, beside it."""
    write_text(out.with_suffix(".txt"), " ".join(filter(None, made_by["captions"])) + "\n")
    known = made_by | {"environment": environment(), "git": git_state()}
    write_text(out.with_suffix(".json"), json.dumps(known, indent=2) + "\n")


def _check(model: FramePackModel, config: ExperimentConfig, codec: LatentCodec) -> None:
    recipe = config.parsed_recipe
    if codec.channels != model.backbone.channels:
        raise ValueError(
            f"the codec makes {codec.channels} channels, the model takes {model.backbone.channels}"
        )
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
