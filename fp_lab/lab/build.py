"""From a config to the things it names: codec, model, system, videos."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fp_data.clips import ClipsConfig, sample, scan
from fp_data.latents import LatentVideos, VideoChunk, cached, encode_videos, to_pixels
from fp_data.worlds import VOCABULARY, iterate
from fp_lab.backbones import TinyDiT
from fp_lab.causal import Blocks
from fp_lab.codec import Codec
from fp_lab.lab.cache_identity import cache_identity
from fp_lab.lab.config import CodecSource, DataConfig, ExperimentConfig
from fp_lab.lab.data_identity import clips_folder, data_identity
from fp_lab.lab.device import device_of
from fp_lab.lab.locking import only_one
from fp_lab.lab.real import embedder, encoder_dtype, image_identity, is_real, real_model
from fp_lab.lab.reporter import Reporter
from fp_lab.lab.training_cache import open_cache
from fp_lab.lab.training_videos import TrainingVideos
from fp_lab.lab.unchanged import input_digests, require_unchanged
from fp_lab.lab.videos import GIVEN, Videos, contents_of
from fp_lab.lab.weights import weights_sha256
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook, CodebookStats, codebook_stats, fit_codebook
from fp_lab.packing.packer import kernels_of
from fp_lab.samples import PlannedSections
from fp_lab.video_codec import VideoCodec, load_codec, pixel_frames

if TYPE_CHECKING:
    from fp_lab.system import FramePackSystem

_CLIPS_AT_ONCE = 8
_VIDEOS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """The videos that arms are measured on.

    Attributes:
        truth: the true videos.
        latents: of the true videos, ``b c t h w``.
        images: embeddings of the first frames ``b i e``, for models that take them.
    """

    truth: Videos
    latents: Tensor
    images: Tensor | None = None


@dataclass(frozen=True, eq=False)
class FittedCodebook:
    """A codebook of the training videos' latents, and what it does to them."""

    codebook: Codebook
    stats: CodebookStats


class Materials:
    """What arms have in common, made or loaded once: codecs, encoded training videos, the evaluation set."""

    def __init__(self, cache: Path, reporter: Reporter) -> None:
        self.cache, self.reporter = cache, reporter
        self._codecs: dict[str, Codec | VideoCodec] = {}
        self._training: dict[str, TrainingVideos] = {}
        self._evaluation: dict[str, EvaluationSet] = {}
        self._codebooks: dict[str, FittedCodebook] = {}

    def codec(self, config: ExperimentConfig) -> Codec | VideoCodec:
        """The codec, on the device that sampling and encoding use."""
        wanted = config.codec
        key = f"{wanted} {weights_sha256('codec', wanted.source)}"
        if key not in self._codecs:
            self._codecs[key] = codec_of(wanted)
        return self._codecs[key].to(device_of(config))

    def training(self, config: ExperimentConfig) -> TrainingVideos:
        """Training videos: those of `data.cache`, or encoded now and kept on disk for the next time.

        Raises:
            ValueError: a cache that does not fit the arm, see `open_cache`.
        """
        if config.data.cache is not None:
            key = str((cache_identity(config), config.data.cache, config.codec, config.model))
            if key not in self._training:
                self._training = {key: open_cache(config, self.codec(config))}
            return self._training[key]
        data, codec = config.data, self.codec(config)
        seeds = range(data.first_seed, data.first_seed + data.train_videos)
        inputs = input_digests(config)
        identity: dict[str, Any] = {
            "data": data_identity(data),
            "seeds": [seeds.start, seeds.stop],
            "encoder": codec.encoder_sha256,
        }
        if (images := image_identity(config)) is not None:
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
        """The codebook of a recipe with a discrete history, fitted on the training videos; else None."""
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
        """The evaluation set with its true latents."""
        codec = self.codec(config)
        key = str((data_identity(config.data), config.evaluation, codec.sha256, config.model))
        if key not in self._evaluation:
            truth = evaluation_videos(config, codec.temporal)
            encode = encoder(codec, config)
            latents = [encode(to_pixels(part)) for part in truth.frames.split(_CLIPS_AT_ONCE)]
            with embedder(config) as embed:
                first = to_pixels(truth.frames[:, :1])[:, :, 0]
                images = None if embed is None else embed(first)
            self._evaluation = {key: EvaluationSet(truth, torch.cat(latents), images)}
        return self._evaluation[key]

    def _counted(self, chunks: Iterator[VideoChunk]) -> Iterator[VideoChunk]:
        done = 0
        for chunk in chunks:
            yield chunk
            done += len(chunk.captions)
            self.reporter.advance(done)


def codec_of(wanted: CodecSource) -> Codec | VideoCodec:
    """The codec that a config names, on the CPU."""
    return load_codec(wanted.source, getattr(torch, wanted.dtype), wanted.tiling, wanted.slicing)


def encoder(codec: Codec | VideoCodec, config: ExperimentConfig) -> Callable[[Tensor], Tensor]:
    """Pixels ``b c t h w`` on the CPU to latents on the CPU."""
    device = device_of(config)

    @torch.no_grad()
    def encode(pixels: Tensor) -> Tensor:
        return codec.encode(pixels.to(device)).cpu()

    return encode


def build_model(config: ExperimentConfig, channels: int, codebook: Codebook | None = None) -> FramePackModel:
    """The model that training starts from: a fresh copy of the base with projections for the recipe.

    Args:
        config: recipe, base and context.
        channels: of the codec's latents.
        codebook: of a discrete history.

    Raises:
        ValueError: a base for other latents.
    """
    kernels = kernels_of(config.parsed_recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if is_real(config):
            model = real_model(config, kernels, codebook)
        elif config.model.base is not None:
            base = FramePackModel.load(config.model.base)
            model = base.with_kernels(kernels, config.context, codebook)
        else:
            words = config.model.backbone.words
            words = words if words.words else replace(words, words=VOCABULARY)
            backbone = replace(config.model.backbone, channels=channels, words=words)
            output = config.objective.flow.output
            model = FramePackModel(TinyDiT(backbone), kernels, output, config.context, codebook)
    if model.backbone.channels != channels:
        raise ValueError(
            f"model.base {config.model.base} takes latents of {model.backbone.channels} channels, "
            f"but the codec {config.codec.source} makes {channels}; choose a base trained on this codec"
        )
    return model


def build_system(
    config: ExperimentConfig, model: FramePackModel, kind: "type[FramePackSystem] | None" = None
) -> "FramePackSystem":
    """Training logic around a model; sections are drawn from the plan that the sampler walks."""
    from fp_lab.system import FramePackSystem  # slow to import

    return (kind or FramePackSystem)(
        model,
        sections_of(config),
        config.objective,
        config.optimizer,
        steps=config.training.steps,
        seed=config.seed,
    )


def sections_of(config: ExperimentConfig) -> PlannedSections | Blocks:
    """What training draws sections from."""
    recipe = config.parsed_recipe
    if config.context.attention == "block_causal":
        return Blocks.of(recipe)
    return PlannedSections(recipe, config.sampling.fill, config.objective.given)


def evaluation_videos(config: ExperimentConfig, temporal: int = 1) -> Videos:
    """The true videos of the evaluation set; of clips, windows that training never sees.

    Args:
        config: of the arm.
        temporal: frames that the codec makes one latent frame of.
    """
    evaluation = config.evaluation
    frames = pixel_frames(evaluation.frames, temporal)
    chunks = list(videos_of(config.data, evaluation.seeds, frames, held_out=True))
    pixels = torch.cat([chunk.frames for chunk in chunks])
    return Videos(
        frames=pixels,
        captions=tuple(caption for chunk in chunks for caption in chunk.captions),
        seeds=tuple(evaluation.seeds),
        order=(GIVEN,) * frames,
        fps=evaluation.fps,
        contents=contents_of(pixels),
        own_scenes=config.data.kind == "world",
    )


def videos_of(data: DataConfig, seeds: Sequence[int], frames: int, *, held_out: bool) -> Iterator[VideoChunk]:
    """Videos by their seeds, a few at a time.

    Args:
        data: which kind.
        seeds: one per video.
        frames: length of each.
        held_out: of clips, whether to cut from the part that training never sees.
    """
    return VIDEOS[data.kind](data, seeds, frames, held_out)


def _world_videos(
    data: DataConfig, seeds: Sequence[int], frames: int, held_out: bool
) -> Iterator[VideoChunk]:
    for world in iterate(replace(data.world, frames=frames), seeds):
        yield VideoChunk(world.frames, world.captions, tuple(scene.seed for scene in world.scenes))


def clips_of(data: DataConfig, frames: int, *, held_out: bool) -> ClipsConfig:
    """Windows of clips, see `videos_of`."""
    split = data.clips.split if data.clips.split == "all" else "held_out" if held_out else "train"
    return replace(clips_folder(data.clips), frames=frames, split=split)


def _clip_videos(data: DataConfig, seeds: Sequence[int], frames: int, held_out: bool) -> Iterator[VideoChunk]:
    clips = clips_of(data, frames, held_out=held_out)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a file that is skipped is news, not an error
        usable = scan(clips).usable
    for begin in range(0, len(seeds), _CLIPS_AT_ONCE):
        part = tuple(seeds[begin : begin + _CLIPS_AT_ONCE])
        cut = [sample(usable, clips, seed) for seed in part]
        windows = torch.stack([torch.from_numpy(clip.frames) for clip in cut])
        yield VideoChunk(windows, tuple(clip.caption for clip in cut), part)


VIDEOS: dict[str, Callable[[DataConfig, Sequence[int], int, bool], Iterator[VideoChunk]]] = {
    "world": _world_videos,
    "clips": _clip_videos,
}
