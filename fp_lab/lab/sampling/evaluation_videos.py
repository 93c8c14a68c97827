"""Second stage of a run: evaluation videos, generated from the arm's own and from true history."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fp_data.clips import write_mp4
from fp_data.latents import to_frames
from fp_lab.checks.finite import check_video
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import attach_text_embeddings
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.video_batch import GIVEN, HISTORIES, Videos
from fp_lab.lab.files.without_rollout import Measure, section_errors_file, write_rows
from fp_lab.lab.materials.materials import EvaluationSet, Materials
from fp_lab.lab.materials.models import load_trained
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.peak_memory import peak_memory, reset_peak_memory
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.without_rollout import section_rows, sections_of
from fp_lab.model import FramePackModel
from fp_lab.recipe.orders import Section
from fp_lab.sampling.decode_sections import decode_whole
from fp_lab.sampling.rollout import rollout

_ERRORS: dict[str, Measure] = {"true": "section_error", "own": "rollout_error"}


@dataclass
class _Clock:
    """Times of finished sections, for the rates."""

    frames: int = 0
    seconds: float = 0.0
    first: list[float] = field(default_factory=list)


def sample(folder: RunFolder, config: ExperimentConfig, materials: Materials, reporter: Reporter) -> None:
    """Generate every evaluation video twice and write frames (safetensors), mp4 files and rates.

    Args:
        folder: folder of the run, with the trained model.
        config: settings of the run.
        materials: codec and evaluation set.
        reporter: receiver of progress, after every section.

    Raises:
        NotFinite: latents or frames of a section are not finite; the message names it, see
            `fp_lab.checks.finite`.
    """
    torch.set_num_threads(config.training.threads)
    reset_peak_memory()
    evaluation = materials.evaluation(config)
    codec = materials.codec(config)
    trained = load_trained(folder.model, config)
    model = attach_text_embeddings(trained, config, evaluation.truth.captions)
    model = model.to(device_of(config)).eval()
    sections = sections_of(config)
    order = _order(sections, config.evaluation.frames, codec.temporal)
    reporter.begin("sample", len(HISTORIES) * len(sections) * len(evaluation.truth.seeds))
    done = 0
    errors: list[dict[str, Any]] = []
    for history in HISTORIES:
        clock = _Clock()
        made, off = [], []
        for batch in _batches(len(evaluation.truth.seeds), config.evaluation.batch):
            latents = _generate(model, codec, config, evaluation, batch, history, clock, reporter, done)
            done += len(sections) * len(batch)
            off.append(section_errors(latents, evaluation.latents[list(batch)], sections))
            made.append(_decode(codec, latents, config.parsed_recipe.section, order))
        errors += section_rows(evaluation.truth, torch.cat(off), _ERRORS[history], sections)
        videos = replace(evaluation.truth, frames=torch.cat(made), order=order, fps=config.evaluation.fps)
        videos.save(folder.samples / f"{history}.safetensors")
        _write_videos(folder.samples, history, videos, config.evaluation.strips)
        if history == "own":
            folder.record_efficiency(_rates(clock))
    write_rows(section_errors_file(folder), errors)
    folder.record_efficiency(peak_memory())


def section_errors(latents: Tensor, true: Tensor, sections: Sequence[Section]) -> Tensor:
    """Mean squared difference of sampled and true latents ``b c t h w`` by section, ``b sections``."""
    apart = (latents.cpu().float() - true.cpu().float()).square().mean((1, 3, 4))
    return torch.stack([apart[:, list(section.targets)].mean(1) for section in sections], 1)


def _generate(
    model: FramePackModel,
    codec: LatentCodec,
    config: ExperimentConfig,
    evaluation: EvaluationSet,
    batch: Sequence[int],
    history: str,
    clock: _Clock,
    reporter: Reporter,
    done: int,
) -> Tensor:
    """Generate latents ``b c t h w`` of some videos of the evaluation set."""
    true = evaluation.latents[list(batch)].to(device_of(config))
    latents = torch.zeros_like(true)
    given = config.evaluation.given
    latents[:, :, :given] = true[:, :, :given]
    images = evaluation.images if given else None
    past = true
    if config.evaluation.shuffled:
        past = evaluation.latents.roll(-1, 0)[list(batch)].to(true)
    started = time.perf_counter()
    for rolled in rollout(
        model,
        config.parsed_recipe,
        true[:, :, :given],
        frames=config.evaluation.frames,
        captions=[evaluation.truth.captions[index] for index in batch],
        seeds=[evaluation.truth.seeds[index] for index in batch],
        sampling=config.sampling,
        history=past if history == "true" else None,
        images=None if images is None else images[list(batch)].to(true),
        codec=codec,
    ):
        latents[:, :, list(rolled.section.targets)] = rolled.latents
        if rolled.index == 0:
            clock.first.append(time.perf_counter() - started)
        done += len(batch)
        reporter.advance(done, f"{history} history")
    clock.seconds += time.perf_counter() - started
    clock.frames += len(batch) * (config.evaluation.frames - given)
    return latents


def _order(sections: Sequence[Section], frames: int, temporal: int) -> tuple[int, ...]:
    """Section that generated each frame of a video of `frames` latent frames."""
    made = [GIVEN] * frames
    for index, section in enumerate(sections):
        for frame in section.targets:
            made[frame] = index
    return tuple(made[-(-place // temporal)] for place in range(pixel_frames(frames, temporal)))


@torch.no_grad()
def _decode(codec: LatentCodec, latents: Tensor, section: int, order: Sequence[int]) -> Tensor:
    """Decode to frames uint8 ``b t h w c`` on the CPU, one video at a time."""
    videos = []
    for video in latents.split(1):
        if codec.temporal == 1:
            parts: Iterable[Tensor] = [codec.decode(video)]
        else:
            parts = (part.final_pixels for part in decode_whole(codec, video, section))
        frames: list[Tensor] = []
        for pixels in parts:
            for frame in pixels.unbind(2):
                made_by = order[len(frames)]
                where = "given frames" if made_by == GIVEN else f"section {made_by + 1}"
                check_video(frame, f"{where}: decoded frame {len(frames)}")
                frames.append(to_frames(frame[:, :, None]).cpu())
        videos.append(torch.cat(frames, 1))
    return torch.cat(videos)


def _batches(count: int, size: int) -> list[range]:
    return [range(begin, min(begin + size, count)) for begin in range(0, count, size)]


def _rates(clock: _Clock) -> dict[str, float]:
    return {"first_section_seconds": clock.first[0], "frames_per_second": clock.frames / clock.seconds}


def _write_videos(folder: Path, history: str, videos: Videos, count: int) -> None:
    for index, frames in enumerate(videos.frames[:count]):
        write_mp4(folder / f"{history}-{index:02d}.mp4", frames.numpy(), videos.fps)
