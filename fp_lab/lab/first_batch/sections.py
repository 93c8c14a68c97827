"""A look at sampling: the first sections of a rollout by the model that training starts from."""

from itertools import islice

import torch

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.first_batch.digests import digest_of
from fp_lab.lab.first_batch.inputs import NotLookedAt, starting_model
from fp_lab.lab.materials.models import codec_of
from fp_lab.lab.materials.training_videos import TrainingVideos
from fp_lab.lab.model_families.choose import family_of
from fp_lab.recipe.orders import plan
from fp_lab.sampling.rollout import rollout

SECTIONS = 2
"""Sections that are generated: the second one has a history that the model itself has made."""


def count_sections(config: ExperimentConfig) -> int:
    """Return how many sections an arm's evaluation videos have."""
    given = frozenset(range(config.evaluation.given))
    return len(plan(config.parsed_recipe, config.evaluation.frames, given=given, fill=config.sampling.fill))


def first_sections(config: ExperimentConfig, videos: TrainingVideos) -> str:
    """Generate the first sections of one video; return the digest of their latents.

    Args:
        config: settings of the arm.
        videos: some of its training videos.

    Raises:
        NotLookedAt: the captions need text encoders.
    """
    if not family_of(config).embeds_captions:
        raise NotLookedAt(f"sampling from {config.model.base} needs its text encoders")
    evaluation = config.evaluation
    chunk = next(iter(videos.chunks(1)))
    with torch.no_grad(), starting_model(config, videos) as model:
        rolled = rollout(
            model.eval(),
            config.parsed_recipe,
            chunk[:1, :, : evaluation.given],
            frames=evaluation.frames,
            captions=[videos.captions[0]],
            seeds=[evaluation.first_seed],
            sampling=config.sampling,
            codec=codec_of(config.codec) if config.sampling.reencode else None,
        )
        return digest_of([(part.section, part.latents) for part in islice(rolled, SECTIONS)])
