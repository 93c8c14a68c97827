"""Measures of a run without rollout: which levels its model reads, and errors of single steps."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import attach_text_embeddings
from fp_lab.lab.files.run_folder import RunFolder, digest
from fp_lab.lab.files.video_batch import HISTORIES, Videos
from fp_lab.lab.files.without_rollout import (
    Measure,
    read_rows,
    section_errors_file,
    steps_file,
    write_rows,
)
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import load_trained
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.recipe.orders import Section, plan
from fp_lab.sampling.influence import SIGMAS, level_influence, level_names
from fp_lab.sampling.step_errors import velocity_errors

SHARE = 0.035
"""Largest share of sampling's calls of the model that these measures take by themselves.

Theirs pack a context each and cost a third more than a sampler's, which packs one per section: together less
than 5 % of the time.
"""
STAGE = "without_rollout"
_VERSION = 1


def without_rollout_key(of: str, config: ExperimentConfig) -> str:
    """Return a key of the measures; `of` is that of the samples, or of a checkpoint's scores."""
    return digest({"of": of, "videos": config.evaluation.without_rollout, "version": _VERSION})


def measure_without_rollout(
    run: RunFolder, config: ExperimentConfig, key: str, materials: Materials, reporter: Reporter
) -> bool:
    """Measure the influence of levels and the velocity error of every section, unless it was done.

    Errors of the sampled sections are stored with them, where the samples have any.

    Args:
        run: folder of a run or a checkpoint, with the trained model.
        config: settings of the run.
        key: key of the measures, see `without_rollout_key`.
        materials: codec and evaluation set.
        reporter: receiver of progress.

    Returns:
        Whether there was something to do.
    """
    count = videos_of(config)
    if not count or run.is_done(STAGE, key):
        return False
    torch.set_num_threads(config.training.threads)
    evaluation, recipe = materials.evaluation(config), config.parsed_recipe
    reporter.begin(STAGE, count)
    run.clear(STAGE)
    with run.doing(STAGE, key):
        trained = load_trained(run.model, config)
        model = attach_text_embeddings(trained, config, evaluation.truth.captions)
        model = model.to(device_of(config)).eval()
        images = evaluation.images if config.evaluation.given else None
        latents = evaluation.latents[:count].to(device_of(config))
        captions, seeds = evaluation.truth.captions[:count], evaluation.truth.seeds[:count]
        options: dict[str, Any] = {
            "seeds": seeds,
            "sampling": config.sampling,
            "given": config.evaluation.given,
            "images": None if images is None else images[:count].to(latents),
            "batch": config.evaluation.batch,
        }
        errors = velocity_errors(model, recipe, latents, captions, **options)
        rows = list(section_rows(evaluation.truth, errors, "velocity_error", sections_of(config)))
        if count > 1 and recipe.order != "none" and model.context.attention != "block_causal":
            again = materials.round_trip(config, count).to(latents)
            for place, level in enumerate(
                level_influence(model, recipe, latents, captions, again, **options)
            ):
                about = {"of": level.name, "place": place, "frames": level.frames}
                rows += _rows(evaluation.truth, level.ratios, {"measure": "influence", **about})
                rows += _rows(evaluation.truth, level.noise, {"measure": "influence_noise", **about})
        parts = [pd.DataFrame(rows), read_rows(section_errors_file(run))]
        write_rows(steps_file(run), pd.concat([part for part in parts if len(part)], ignore_index=True))
    reporter.advance(count)
    return True


def sections_of(config: ExperimentConfig) -> tuple[Section, ...]:
    """Sections of the evaluation videos, in the order of generation."""
    evaluation = config.evaluation
    given = frozenset(range(evaluation.given))
    return plan(config.parsed_recipe, evaluation.frames, given=given, fill=config.sampling.fill)


def section_rows(
    truth: Videos, errors: Tensor, measure: Measure, sections: Sequence[Section]
) -> Iterator[dict[str, Any]]:
    """Rows of errors ``b sections``."""
    for place, (section, own) in enumerate(zip(sections, errors.unbind(1), strict=True)):
        about = {"measure": measure, "of": "section", "place": place, "frames": len(section.targets)}
        yield from _rows(truth, own, about)


def _rows(truth: Videos, values: Tensor, about: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"video": video, "prompt": truth.prompts[video], "seed": truth.seeds[video], **about, "value": value}
        for video, value in enumerate(values.tolist())
    ]


def videos_of(config: ExperimentConfig) -> int:
    """Number of evaluation videos that are measured: as set, else as many as `SHARE` of sampling pays for.

    Every noise level has a video at least. What counts are calls of the model on a video.
    """
    evaluation, sampling = config.evaluation, config.sampling
    if evaluation.without_rollout is not None:
        return min(evaluation.without_rollout, evaluation.videos)
    sections, levels = len(sections_of(config)), len(level_names(config.parsed_recipe))
    calls = 1 + (sampling.guidance != 1) + (sampling.history_guidance != 1)
    sampled = len(HISTORIES) * sections * sampling.solver.steps * calls * evaluation.videos
    # unchanged, all levels exchanged, and each alone twice
    each = sections + (2 + 2 * levels if levels else 0)
    return min(evaluation.videos, max(len(SIGMAS), int(SHARE * sampled / each)))
