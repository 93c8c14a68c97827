"""Videos on demand from a trained or a released model, written section by section."""

import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fp_data.clips import write_mp4
from fp_data.latents import to_frames, to_pixels
from fp_lab.checks.ranges import MOST_LATENTS
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import attach_text_embeddings, embedder
from fp_lab.lab.files.atomic import read_json, write_text
from fp_lab.lab.files.output_paths import check_file
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.materials.models import codec_of
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.environment import environment, git_state
from fp_lab.lab.sampling.offload import Offload, in_turns, place_model
from fp_lab.lab.sampling.openings import Opening
from fp_lab.lab.sampling.resume import KeptSections
from fp_lab.model import FramePackModel
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe.lengths import sections_in
from fp_lab.recipe.orders import plan
from fp_lab.sampling.decode_sections import GIVEN, decode_sections
from fp_lab.sampling.rollout import RolledSection, rollout
from fp_lab.weights.files import tensors_sha256

USUAL_LENGTH = 64
"""Default length of a video in latent frames, rounded to whole sections."""
_SECTION = re.compile(r"\d+\.safetensors(\.\d+)?(\.damaged)?")
_LONGEST_STEM = 220  # bytes; file systems take 255, and endings and marks of unfinished files come on top

_OWN = {"captions", "opening", "seed", "weights", "config", "environment"}
"""Keys of the provenance of a video, among others."""


@dataclass(frozen=True)
class Progressed:
    """Progress of a video in finished sections."""

    done: int
    sections: int


def length_of(
    config: ExperimentConfig,
    codec: LatentCodec,
    given: int,
    seconds: float | None = None,
    frames: int | None = None,
) -> int:
    """Length of a video in latent frames, given ones included: whole sections, unless `frames` is set.

    Args:
        config: settings with recipe and frame rate.
        codec: codec of the video, which sets the frames per latent frame.
        given: number of latent frames of the opening.
        seconds: approximate length after the opening; None, without `frames` either: about `USUAL_LENGTH`.
        frames: exact number of latent frames, with the last one of an opening included.

    Raises:
        ValueError: more than `MOST_LATENTS` latent frames.
    """
    asked = frames or (seconds or 0) * config.evaluation.fps / codec.temporal
    if asked > MOST_LATENTS:
        raise ValueError(
            f"got a video of {asked:.4g} latent frames, expected at most {MOST_LATENTS}; ask for fewer "
            f"{'seconds' if frames is None else 'frames'}"
        )
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
    """Generate one video; write it as mp4, its captions as txt and its provenance as json.

    Sections are decoded as they come, and kept as 8-bit pixels on disk. An interrupted video resumes after
    its last finished section: sections are stored in ``NAME.sections`` until the end.

    Args:
        model: model trained for the config's recipe.
        config: settings with recipe, codec, sampling and frame rate.
        opening: opening of the video.
        frames: length in latent frames, opening included.
        seed: seed of the noise.
        out: path of the mp4 file.
        codec: codec of the config, if loaded already.
        preview: whether to write the frames so far to ``NAME.preview.mp4`` after every section, in order of
            time.
        offload: parts that take turns on the device.

    Yields:
        Progress after every section.

    Raises:
        ValueError: the model was trained for other kernels or context options, has the channels of another
            codec, or needs a first frame where there is none; or `out` is refused by `check_output`.
    """
    out = check_output(out)
    recipe, device = config.parsed_recipe, device_of(config)
    codec = (codec or codec_of(config.codec)).to(device)
    _check(model, config, codec)
    model = attach_text_embeddings(model, config, opening.captions).eval()
    given, images = _given(config, codec, opening, device)
    if config.sampling.reencode and offload != "none":
        raise ValueError(
            f"sampling.reencode: got True with offload {offload!r}, expected none: the codec works while the "
            "model is on the device"
        )
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
        codec=codec,
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
    """Frames of a video in a temporary file: memory does not grow with the video."""

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
        """Write frames ``t h w c`` from an index on."""
        places = slice(begin, begin + len(frames))
        self._frames[places], self._known[places] = frames, True

    def there(self) -> Iterator[np.ndarray]:
        """Frames so far in order of time, with earlier frames of the clip before them."""
        return chain(self._earlier(), (self._frames[place] for place in np.flatnonzero(self._known)))


def _given(
    config: ExperimentConfig, codec: LatentCodec, opening: Opening, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Latents ``1 c t h w`` of an opening, and the first frame's embedding for models that take it."""
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
    """Index of the first latent frame of every scene."""
    if opening.seconds is None:
        return None
    rate = config.evaluation.fps / codec.temporal
    return tuple(round(begin * rate) + max(given - 1, 0) if begin else 0 for begin in opening.seconds)


def _made_by(
    model: FramePackModel, config: ExperimentConfig, opening: Opening, frames: int, seed: int
) -> dict[str, Any]:
    """Description of all that a video depends on."""
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


def check_output(out: Path, inputs: Sequence[Path] = ()) -> Path:
    """Check, before generation, that the video and the files beside it can be written.

    Args:
        out: path of the mp4 file.
        inputs: pictures and clips that the video is made from.

    Returns:
        The path to write: of a link the file that it leads to.

    Raises:
        ValueError: the path is no name of an mp4 file, too long, not writable or an input, or files beside it
            are not those of an earlier video.
    """
    named, out = out, check_file("out", out)
    if out.suffix.lower() != ".mp4":
        leads = f", a link to {out}" if named.is_symlink() else ""
        raise ValueError(
            f"got out={str(named)!r}{leads}, expected the name of an mp4 file, such as video.mp4"
        )
    if (length := len(os.fsencode(out.stem))) > _LONGEST_STEM:
        raise ValueError(
            f"got out={str(out)!r}, a name of {length} bytes without its ending; expected {_LONGEST_STEM} at "
            "most: further files are named after it"
        )
    for file in (out, out.with_suffix(".preview.mp4")):
        if file.exists() and any(given.exists() and given.samefile(file) for given in inputs):
            raise ValueError(
                f"got out={str(named)!r}, which would replace the input {file}; expected another"
            )
    told, captions = out.with_suffix(".json"), out.with_suffix(".txt")
    for file in (told, captions):
        if os.path.lexists(file) and not _is_own(told):
            raise ValueError(
                f"got out={str(named)!r}, whose {file.suffix} would replace {file}, a file that fp-lab "
                "generate has not written; expected another name"
            )
    sections = out.with_suffix(".sections")
    foreign = [file for file in sections.glob("[!.]*") if not _SECTION.fullmatch(file.name)]
    if foreign or (os.path.lexists(sections) and not sections.is_dir()):
        raise ValueError(
            f"got out={str(named)!r}, whose sections would replace {(foreign or [sections])[0]}, which "
            "fp-lab generate has not written; expected another name"
        )
    return out


def _is_own(told: Path) -> bool:
    """Whether a file is the provenance of a generated video."""
    try:
        return told.is_file() and read_json(told).keys() >= _OWN
    except ValueError:  # no JSON
        return False


def _tell(out: Path, made_by: dict[str, Any]) -> None:
    """Write provenance and captions, for `fp-lab evaluate`, beside the video.

    Provenance comes first: by it `check_output` knows the captions for those of a video.
    """
    known = made_by | {"environment": environment(), "git": git_state()}
    write_text(out.with_suffix(".json"), json.dumps(known, indent=2) + "\n")
    write_text(out.with_suffix(".txt"), " ".join(filter(None, made_by["captions"])) + "\n")


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
