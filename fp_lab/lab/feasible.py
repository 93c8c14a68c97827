"""What cannot be done is refused before anything is trained: by what files and the machine tell."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import psutil

from fp_data.clips import ClipsConfig, NoVideos, require_window
from fp_lab.lab.build import clips_of
from fp_lab.lab.compute import shape_of, strides_of
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.evaluate import applying_families, left_out
from fp_lab.lab.grid import Arm
from fp_lab.lab.track.best import Goal, check_measured
from fp_lab.video_codec import pixel_frames

_LATENT = 4  # bytes of a channel, in memory
_COPIES = 3  # of the evaluation videos: true ones, generated ones, those from true history


def check_feasible(arms: Sequence[Arm]) -> None:
    """Refuse arms that nothing but a change of their settings can bring to an end.

    Args:
        arms: those that are to be done.

    Raises:
        ValueError: names the arm, its setting and what was expected.
    """
    for arm in arms:
        try:
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
    """Latents of the training videos and pixels of the evaluation videos are held in memory as a whole."""
    data, evaluation = config.data, config.evaluation
    here = psutil.virtual_memory().total
    with suppress(ValueError):  # a codec that is not there is named by who needs it
        shape, channels = shape_of(config, data.frames), config.model.backbone.channels
        latents = data.train_videos * channels * shape.frames * shape.rows * shape.columns * _LATENT
        frames = pixel_frames(evaluation.frames, strides_of(config).temporal)
        pixels = evaluation.videos * frames * data.size**2 * 3 * _COPIES
        if data.cache is None and latents > here:
            fault = f"data.train_videos: got {data.train_videos}, whose latents take"
        elif pixels > here:
            fault, latents = f"evaluation.videos: got {evaluation.videos}, whose frames take", pixels
        else:
            return
    raise ValueError(f"{fault} {latents / 2**30:.0f} GiB; expected what fits into {here / 2**30:.0f} GiB")


def _check_windows(windows: ClipsConfig, setting: str) -> None:
    """Clips have to be long enough for the windows that are cut from them."""
    try:
        require_window(windows)
    except NoVideos as error:
        raise ValueError(f"data.clips.folder: {error}") from error
    except ValueError as error:
        raise ValueError(f"{setting}: got {windows.frames} frames: {error}") from error


def _windows(config: ExperimentConfig) -> Iterator[tuple[ClipsConfig, str]]:
    """What is cut from clips, and the setting of its length."""
    if config.data.kind == "clips":
        if config.data.cache is None:
            yield clips_of(config.data, config.data.frames, held_out=False), "data.clips.frames"
        with suppress(ValueError):  # see _check_memory
            frames = pixel_frames(config.evaluation.frames, strides_of(config).temporal)
            yield clips_of(config.data, frames, held_out=True), "evaluation.frames"
