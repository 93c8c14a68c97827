"""A few training videos of an arm and the model that its training starts from, without large weights."""

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from fp_data.latents import encode_videos
from fp_data.shards import Shards
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.cache_conditions import read_empty
from fp_lab.lab.encoding.conditions import attach_text_embeddings, image_identity, texts_of
from fp_lab.lab.materials.models import build_model, codec_of, encoder
from fp_lab.lab.materials.training_videos import CachedVideos, TrainingVideos
from fp_lab.lab.materials.videos import videos_of
from fp_lab.lab.model_families.choose import family_of
from fp_lab.lab.provenance.cache_identity import cache_of
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import fit_codebook

VIDEOS = 4
"""Training videos that are looked at, whatever the batch: arms of other batch sizes see the same draws."""
_FITTED = 2  # videos of a codebook: any one discretises
_STD = 0.02  # of weights in place of zeros, as transformers are initialised


class NotLookedAt(ValueError):
    """An arm's first batch cannot be made with what is on this machine; says why."""


def few_videos(config: ExperimentConfig) -> TrainingVideos:
    """Return the first training videos of an arm, encoded now, or its cache.

    Raises:
        NotLookedAt: they would need encoders or a cache that is not there.
    """
    if config.data.cache is not None:
        folder = cache_of(config)
        texts_of(config).keep("", read_empty(folder))
        return CachedVideos(Shards(folder), images=image_identity(config) is not None)
    if not family_of(config).embeds_captions:
        raise NotLookedAt("without data.cache its first batch needs text encoders and VAE")
    seeds = range(config.data.first_seed, config.data.first_seed + VIDEOS)
    chunks = videos_of(config.data, seeds, config.data.frames, held_out=False)
    return encode_videos(chunks, encoder(codec_of(config.codec), config))


@contextmanager
def starting_model(config: ExperimentConfig, videos: TrainingVideos) -> Iterator[FramePackModel]:
    """Yield the model that training starts from, with random numbers in place of weights that are all zero.

    Those hide what is before them: a last layer of zeros predicts 0 whatever the history. For a large model
    a small one stands in, see `fp_lab.lab.model_families.family.ModelFamily.stand_in`.

    Raises:
        NotLookedAt: the config of a large model is not on this machine.
    """
    chunk = next(iter(videos.chunks(VIDEOS)))
    size = config.parsed_recipe.codebook
    codebook = None if size is None else fit_codebook(lambda: [chunk[:_FITTED]], size, seed=0, passes=1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            small = family_of(config).stand_in(Path(folder))
        except ValueError as error:
            raise NotLookedAt(f"the config of its transformer is not on this machine: {error}") from error
        model = build_model(small, chunk.shape[1], codebook)
        attach_text_embeddings(model, config, (), guided=False)
        _without_zeros(model)
        yield model


@torch.no_grad()
def _without_zeros(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.any():
            # by its name: other parameters of another arm must not move the draw
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            parameter.copy_(_STD * torch.randn(parameter.shape, generator=generator))
