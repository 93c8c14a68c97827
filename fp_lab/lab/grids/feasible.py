"""Feasibility checks of arms before any training, by files and machine."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import psutil

from fp_data.clips import ClipsConfig, NoVideos, require_window
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.checkpoints.best import Goal, check_measured
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.grids.grid import Arm
from fp_lab.lab.materials.videos import clips_of
from fp_lab.lab.planning.flops import costs_of, shape_of, strides_of
from fp_lab.lab.planning.latent_shape import LatentShape
from fp_lab.lab.runtime.device import require_devices
from fp_lab.lab.scoring.score_run import applying_families, left_out
from fp_lab.packing.token_counts import level_tokens

_LATENT = 4  # bytes of a channel, in memory
_COPIES = 3  # of the evaluation videos: true ones, generated ones, those from true history


def check_feasible(arms: Sequence[Arm], *, on_this_machine: bool = False) -> None:
    """Refuse arms that cannot finish with their settings.

    Args:
        arms: arms to run.
        on_this_machine: whether they run here, so that its devices are checked too.

    Raises:
        ValueError: an arm is not feasible; the message names it, its setting and what was expected.
    """
    for arm in arms:
        try:
            if on_this_machine:
                require_devices(arm.config)
            _check_families(arm.config)
            _check_memory(arm.config)
        except ValueError as error:
            raise ValueError(f"{arm.name}: {error}") from error
    for windows, setting in dict.fromkeys(cut for arm in arms for cut in _windows(arm.config)):
        _check_windows(windows, setting)


def _check_families(config: ExperimentConfig) -> None:
    if not applying_families(config):
        reasons = "; ".join(f"{family}: {reason}" for family, reason in left_out(config).items())
        raise ValueError(f"evaluation.families: none applies: {reasons}; add another such as plain")
    if config.track.every and config.track.score:
        check_measured(Goal.parse(config.track.best), config)


def _check_memory(config: ExperimentConfig) -> None:
    """Check memory: latents of training videos, pixels of evaluation videos and a context are held whole."""
    data, evaluation = config.data, config.evaluation
    here, needed, fault = psutil.virtual_memory().total, 0, ""
    with suppress(ValueError):  # a codec that is not there is named by who needs it
        shape, channels = shape_of(config, data.frames), config.model.backbone.channels
        latents = data.train_videos * channels * shape.frames * shape.rows * shape.columns * _LATENT
        frames = pixel_frames(evaluation.frames, strides_of(config).temporal)
        pixels = evaluation.videos * frames * data.size**2 * 3 * _COPIES
        if data.cache is None and latents > here:
            fault, needed = f"data.train_videos: got {data.train_videos}, whose latents take", latents
        elif pixels > here:
            fault, needed = f"evaluation.videos: got {evaluation.videos}, whose frames take", pixels
        elif (packed := _packed(config, shape)) > here:
            fault, needed = f"recipe: got {config.recipe}, the context of a batch takes", packed
    if fault:
        raise ValueError(f"{fault} {needed / 2**30:.0f} GiB; expected what fits into {here / 2**30:.0f} GiB")


def _packed(config: ExperimentConfig, shape: LatentShape) -> int:
    """Bytes of a training batch's context at the input of the backbone, a lower bound of its memory.

    Frames that a video does not have are embedded too, and dropped only afterwards: levels of a million
    frames take their memory whatever the videos' length.
    """
    tokens = sum(level_tokens(config.parsed_recipe, shape.rows, shape.columns))
    return config.training.batch * tokens * costs_of(config).token_bytes()


def _check_windows(windows: ClipsConfig, setting: str) -> None:
    """Check that clips are long enough for their windows."""
    try:
        require_window(windows)
    except NoVideos as error:
        raise ValueError(f"data.clips.folder: {error}") from error
    except ValueError as error:
        raise ValueError(f"{setting}: got {windows.frames} frames: {error}") from error


def _windows(config: ExperimentConfig) -> Iterator[tuple[ClipsConfig, str]]:
    """Windows to cut from clips, each with the setting of its length."""
    if config.data.kind == "clips":
        if config.data.cache is None:
            yield clips_of(config.data, config.data.frames, held_out=False), "data.clips.frames"
        with suppress(ValueError):  # see _check_memory
            frames = pixel_frames(config.evaluation.frames, strides_of(config).temporal)
            yield clips_of(config.data, frames, held_out=True), "evaluation.frames"
