"""Materials that arms share: codecs, encoded training videos, codebooks, the evaluation set."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fp_data.latents import LatentVideos, VideoChunk, cached, encode_videos, to_frames, to_pixels
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import embedder, encoder_dtype
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.video_batch import Videos
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.materials.models import codec_of, encoder
from fp_lab.lab.materials.training_cache import open_cache
from fp_lab.lab.materials.training_videos import TrainingVideos
from fp_lab.lab.materials.videos import CLIPS_AT_ONCE, evaluation_videos, videos_of
from fp_lab.lab.provenance.cache_identity import cache_identity
from fp_lab.lab.provenance.data_identity import data_identity, digests_of_videos
from fp_lab.lab.provenance.inputs import read_inputs, require_unchanged
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.packing.codebook import Codebook, CodebookStats, codebook_stats, fit_codebook

_VIDEOS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Evaluation set: the videos that arms are measured on.

    Attributes:
        truth: true videos.
        latents: latents of the true videos, ``b c t h w``.
        images: embeddings of first frames ``b i e``, for models that take them.
    """

    truth: Videos
    latents: Tensor
    images: Tensor | None = None


@dataclass(frozen=True, eq=False)
class FittedCodebook:
    """A codebook fitted to the training videos' latents, with its usage and error."""

    codebook: Codebook
    stats: CodebookStats


class Materials:
    """Materials that arms share, made or loaded once: codecs, encoded training videos, evaluation set."""

    def __init__(self, cache: Path, reporter: Reporter) -> None:
        self.cache, self.reporter = cache, reporter
        self._codecs: dict[str, LatentCodec] = {}
        self._training: dict[str, TrainingVideos] = {}
        self._evaluation: dict[str, EvaluationSet] = {}
        self._again: tuple[EvaluationSet, Tensor] | None = None
        self._codebooks: dict[str, FittedCodebook] = {}

    def codec(self, config: ExperimentConfig) -> LatentCodec:
        """Return the codec, on the device that sampling and encoding use."""
        wanted = config.codec
        key = f"{wanted} {weights_sha256('codec', wanted.source)}"
        if key not in self._codecs:
            self._codecs[key] = codec_of(wanted)
        return self._codecs[key].to(device_of(config))

    def training(self, config: ExperimentConfig) -> TrainingVideos:
        """Return training videos: those of `data.cache`, or encoded now and stored for the next time.

        Raises:
            ValueError: the cache does not fit the arm, see `open_cache`.
        """
        if config.data.cache is not None:
            key = str((cache_identity(config), config.data.cache, config.codec, config.model))
            if key not in self._training:
                self._training = {key: open_cache(config, self.codec(config))}
            return self._training[key]
        data, codec = config.data, self.codec(config)
        seeds = range(data.first_seed, data.first_seed + data.train_videos)
        inputs = read_inputs(config)
        identity: dict[str, Any] = {
            "data": data_identity(data, inputs.clips),
            "seeds": [seeds.start, seeds.stop],
            "encoder": codec.encoder_sha256,
        }
        if (images := inputs.encoders.get("images")) is not None:
            identity |= {"images": images, "image_dtype": encoder_dtype(config)}

        def make() -> LatentVideos:
            self.reporter.begin("encode", len(seeds))
            chunks = videos_of(data, seeds, data.frames, held_out=False)
            with embedder(config) as embed:
                videos = encode_videos(self._counted(chunks), encoder(codec, config), embed)
            require_unchanged(inputs, config, "encode")
            return videos

        key = str(identity)
        if key not in self._training:
            with only_one(self.cache / "latents.lock"):  # the arms that wait find what the first one has made
                self._training = {key: cached(self.cache, identity, make)}
        return self._training[key]

    def codebook(self, config: ExperimentConfig) -> FittedCodebook | None:
        """Return the codebook of a recipe with discrete history, fitted on the training videos; else None."""
        size = config.parsed_recipe.codebook
        if size is None:
            return None
        videos = self.training(config)
        key = str((next(iter(self._training)), size))
        if key not in self._codebooks:

            def chunks() -> Iterable[Tensor]:
                return videos.chunks(_VIDEOS_AT_ONCE)

            self.reporter.begin("codebook", 100)
            fitted = fit_codebook(
                chunks, size, seed=0, progress=lambda done, total: self.reporter.advance(100 * done // total)
            )
            self._codebooks[key] = FittedCodebook(fitted, codebook_stats(fitted, chunks()))
        return self._codebooks[key]

    def evaluation(self, config: ExperimentConfig) -> EvaluationSet:
        """Return the evaluation set with its true latents."""
        codec = self.codec(config)
        data = data_identity(config.data, digests_of_videos(config.data))
        key = str((data, config.evaluation, codec.sha256, config.model))
        if key not in self._evaluation:
            truth = evaluation_videos(config, codec.temporal)
            encode = encoder(codec, config)
            latents = [encode(to_pixels(part)) for part in truth.frames.split(CLIPS_AT_ONCE)]
            with embedder(config) as embed:
                first = to_pixels(truth.frames[:, :1])[:, :, 0]
                images = None if embed is None else embed(first)
            self._evaluation = {key: EvaluationSet(truth, torch.cat(latents), images)}
        return self._evaluation[key]

    def round_trip(self, config: ExperimentConfig, count: int) -> Tensor:
        """Return latents ``count c t h w`` of the first evaluation videos after one more round trip.

        They differ from the true latents by what the codec loses, which should not matter to any model.
        """
        evaluation, codec = self.evaluation(config), self.codec(config)
        if self._again is None or self._again[0] is not evaluation or len(self._again[1]) < count:
            encode, device = encoder(codec, config), device_of(config)
            with torch.no_grad():
                parts = [
                    encode(to_pixels(to_frames(codec.decode(video.to(device))).cpu()))
                    for video in evaluation.latents[:count].split(1)
                ]
            self._again = evaluation, torch.cat(parts)
        return self._again[1][:count]

    def _counted(self, chunks: Iterator[VideoChunk]) -> Iterator[VideoChunk]:
        done = 0
        for chunk in chunks:
            yield chunk
            done += len(chunk.captions)
            self.reporter.advance(done)
