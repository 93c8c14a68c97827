"""Training videos from an `fp-lab encode` cache, checked against the arm."""

from collections.abc import Iterator

from fp_data.shard_manifest import Manifest
from fp_data.shards import Shards
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.conditions.encoder_files import EncoderFiles
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.cache_conditions import image_maker, read_empty, text_maker
from fp_lab.lab.encoding.conditions import (
    encoder_dtype,
    encoder_identity,
    encoders_of,
    image_identity,
    texts_of,
)
from fp_lab.lab.materials.training_videos import CachedVideos
from fp_lab.lab.provenance.cache_identity import cache_of
from fp_lab.shapes import IMAGE


def open_cache(config: ExperimentConfig, codec: LatentCodec) -> CachedVideos:
    """Open the training videos of an arm with `data.cache`, and take the empty caption's embedding from it.

    Args:
        config: settings of the arm.
        codec: codec of the arm.

    Raises:
        ValueError: there is no transformer of diffusers to train; the cache is missing, incomplete or
            damaged; or it was made with another VAE, other encoders or another precision.
    """
    folder, files = cache_of(config), encoders_of(config)
    assert files is not None  # `cache_of` refuses arms without encoders
    shards, empty = Shards(folder), read_empty(folder)
    if differences := tuple(_differences(shards.manifest, config, codec, files)):
        raise ValueError(
            f"data.cache: {folder} does not fit this arm:\n  "
            + "\n  ".join(differences)
            + f"\nset codec.dtype and model.encoder_dtype to {shards.manifest.dtype} and the others to what "
            f"made it, or encode the videos into another one: `fp-lab encode VIDEOS CACHE --model "
            f"{config.codec.source} --dtype {encoder_dtype(config)}`"
        )
    texts_of(config).keep("", empty)
    return CachedVideos(shards, images=image_identity(config) is not None)


def _differences(
    manifest: Manifest, config: ExperimentConfig, codec: LatentCodec, files: EncoderFiles
) -> Iterator[str]:
    """Differences between a cache and what the arm needs: found, expected, settings."""
    if manifest.dtype != (expected_dtype := encoder_dtype(config)):
        yield (
            f"precision: found {manifest.dtype}, expected {expected_dtype} (model.encoder_dtype, or "
            "model.dtype where that is null, in which captions are encoded for sampling)"
        )
    if manifest.origin.encoder_sha256 != codec.encoder_sha256:
        yield (
            f"latents: found those of VAE {manifest.origin.encoder_sha256[:12]}, expected "
            f"{codec.encoder_sha256[:12]} (codec.source {config.codec.source}, codec.dtype "
            f"{config.codec.dtype})"
        )
    identity = encoder_identity(config)
    texts, images = identity["texts"], identity["images"]
    assert texts is not None
    expected = {"words": text_maker(files, texts)}
    if images is not None:
        expected[IMAGE] = image_maker(files, images)
    settings = {"words": "model.conditions", IMAGE: "model.images"}
    for name, maker in expected.items():
        found = manifest.origin.conditions.get(name, "no encoder")
        if found != maker:
            yield f"{name}: found those of {found}, expected those of {maker} ({settings[name]}, model.base)"
