"""Encoding of a folder of videos into a cache of latents and conditions for training real models.

Beside the shards lie `CLIPS`, the windows that they hold, and `EMPTY`, the embeddings of the empty caption.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch

from fp_data.damaged import DamagedFile, set_aside
from fp_data.latents import to_pixels
from fp_data.shard_manifest import MANIFEST, Manifest, Origin
from fp_data.shard_writer import Progress, write_shards
from fp_data.shards import Fault, Sample, check
from fp_lab.codecs.video import VideoCodec, latent_frames
from fp_lab.conditions.encoder_files import EncoderFiles, find_encoders
from fp_lab.conditions.encoders import TextEncoders, load_encoders
from fp_lab.lab.encoding.cache_conditions import EMPTY, image_maker, read_empty, text_maker, write_empty
from fp_lab.lab.encoding.read_windows import Clip, read_clips
from fp_lab.lab.encoding.text_embeddings import EncodedTexts
from fp_lab.lab.encoding.windows import CLIPS, ClipPlan, Cutting, video_files
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.files.weights import weights_identity
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.recipe.lengths import USUAL_SECTION, not_whole
from fp_lab.shapes import IMAGE, EncodedText
from fp_lab.weights.pipelines import require_used

_PATCH = 2  # latents per token, along height and along width


@dataclass(frozen=True)
class EncodeConfig:
    """Settings of a cache.

    Attributes:
        model: Pipeline folder in diffusers' format, or hub id, with VAE and encoders.
        image_encoder: Folder or hub id of the image encoder; None: that of `model`.
        cutting: Cutting of the videos into windows.
        dtype: Data type of the weights and of the stored tensors.
        per_shard: Number of samples of a full shard.
        device: Device of the networks; auto: a GPU if there is one.
        tiling: Whether to encode large frames in overlapping tiles: less memory, slightly other latents.
    """

    model: str
    image_encoder: str | None = None
    cutting: Cutting = field(default_factory=Cutting)
    dtype: Literal["float16", "bfloat16", "float32"] = "bfloat16"
    per_shard: int = 64
    device: str = "auto"
    tiling: bool = False


@dataclass(frozen=True)
class Encoded:
    """A complete cache, with what was encoded, skipped and changed.

    Attributes:
        manifest: Manifest of the cache.
        plan: Windows in the cache, and skipped videos.
        new: Videos added to the folder after the plan was made; they are not in the cache.
        changed: Videos whose content or caption has changed since; the cache holds the old ones.
        clips: Number of windows encoded by this run.
        seconds: Time to encode them, without loading the networks.
    """

    manifest: Manifest
    plan: ClipPlan
    new: tuple[str, ...]
    changed: tuple[str, ...]
    clips: int
    seconds: float


@dataclass(frozen=True)
class _Networks:
    """Networks that a sample goes through; `images` is None for models without image condition."""

    codec: VideoCodec
    texts: EncodedTexts
    images: TextEncoders | None

    @torch.no_grad()
    def sample(self, clip: Clip) -> Sample:
        """Encode a window: latents, embeddings of its caption and its first frame."""
        assert clip.frames is not None, "only what is in a whole shard comes without frames"
        frames = torch.from_numpy(clip.frames)[None].to(self.texts.device)
        pixels = to_pixels(frames)
        caption = clip.window.video.caption
        (text,) = self.texts.encoded([caption])
        conditions = dict(text.tensors)
        if self.images is not None:
            conditions[IMAGE] = self.images.images(pixels[:, :, 0])[0]
        latents = self.codec.encode(pixels)[0]
        return Sample(latents, clip.window.bucket, caption, str(clip.window), conditions)


def encode_folder(folder: Path, out: Path, config: EncodeConfig, reporter: Reporter | None = None) -> Encoded:
    """Encode all windows of a folder's videos, resuming an unfinished cache.

    Videos that cannot be read are left out and named in the result. Captions are encoded first, so that the
    text encoders and the VAE are never on the device together.

    Args:
        folder: Folder of videos, each with its caption in a .txt beside it; searched recursively.
        out: Folder of the cache.
        config: Settings of the cache; an unfinished cache needs the same as before.
        reporter: Receiver of progress.

    Raises:
        ValueError: No usable video, a missing part of the model, a cache made with other settings, or another
            process that writes into it.
    """
    reporter = reporter or Reporter()
    device, dtype = _device(config.device), getattr(torch, config.dtype)
    require_used(config.model)
    files = find_encoders(config.model, config.image_encoder)
    codec = VideoCodec.load(config.model, dtype, config.tiling)
    _require_fit(config.cutting, codec)
    if why := window_caution(config.cutting.frames, codec.temporal):
        reporter.say(why)
    texts = EncodedTexts(files, dtype, device)
    images = _image_identity(files, config.image_encoder is not None)
    with only_writer(out):
        plan = _plan(folder, out, config.cutting, reporter)
        empty = _encode_captions(plan, texts, reporter)
        told = dict.fromkeys(empty.tensors, text_maker(files, texts.identity)) | images
        data = {"clips": plan.sha256, **asdict(config.cutting), "tiling": config.tiling}
        origin = Origin(data, codec.encoder_sha256, told)
        eyes = load_encoders(files, dtype, device, only="images") if images else nullcontext(None)
        with eyes as loaded:
            networks = _Networks(codec.to(device), texts, loaded)
            reporter.begin("clips", len(plan.windows))
            made = _write(folder, out, origin, config, networks, reporter)
        write_empty(out, empty)
    return made


def window_caution(frames: int, temporal: int) -> str | None:
    """Return why clips of this length are no whole sections for recipes of g9; None where they are.

    Args:
        frames: length of a clip in frames.
        temporal: number of frames per latent frame.
    """
    why = not_whole(USUAL_SECTION, latent_frames(frames, temporal), 1, temporal)
    if why is None:
        return None
    return (
        f"--frames {frames}: clips of {why}. A training on them has sections of a length that videos of "
        f"whole sections never have; for a recipe of another section length N take 1 + {temporal} x N x n "
        "frames"
    )


def check_cache(out: Path, progress: Callable[[str], None] | None = None) -> tuple[Fault, ...]:
    """Read a whole cache and return its faults; none if it is intact.

    Args:
        out: Folder of the cache.
        progress: Called with each shard's file name before it is read.

    Raises:
        ValueError: There is no cache, or its manifest or windows cannot be read.
    """
    faults = list(check(out, progress))
    ClipPlan.load(out / CLIPS)
    try:
        read_empty(out)
    except ValueError as error:
        faults.append(Fault(EMPTY, str(error).removeprefix(f"{out / EMPTY}: ")))
    return tuple(faults)


def _plan(folder: Path, out: Path, cutting: Cutting, reporter: Reporter) -> ClipPlan:
    """Return the plan of an unfinished cache, or make and store a new one."""
    path = out / CLIPS
    _set_damaged_aside(out)
    if path.is_file():
        plan = ClipPlan.load(path)
        if plan.cutting != cutting:
            raise ValueError(
                f"{out} was begun with other windows; give another folder, or delete this one:\n"
                f"  {plan.cutting} there\n  {cutting} here"
            )
        plan.require_videos(folder)
        return plan
    begun = Manifest.load(out).origin.data.get("clips") if (out / MANIFEST).is_file() else None
    reporter.begin("videos", len(video_files(folder)))
    plan = ClipPlan.make(folder, cutting, reporter.advance)
    if begun not in (None, plan.sha256):
        raise ValueError(
            f"{out} holds a cache of other videos or of another command, and no {CLIPS}; give another folder"
        )
    plan.save(path)
    return plan


def _set_damaged_aside(out: Path) -> None:
    """Set aside plan and manifest that cannot be read any more; they are made again."""
    for name, read in ((CLIPS, ClipPlan.load), (MANIFEST, lambda path: Manifest.load(path.parent))):
        if (out / name).is_file():
            try:
                read(out / name)
            except DamagedFile as error:
                kept = set_aside(out / name)
                warnings.warn(f"{error}; it is now {kept.name}, and made again", stacklevel=3)


def _encode_captions(plan: ClipPlan, texts: EncodedTexts, reporter: Reporter) -> EncodedText:
    """Encode missing captions and the empty one; return the empty caption's embeddings."""
    captions = dict.fromkeys(["", *(video.caption for video in plan.videos)])
    reporter.begin("captions", len(captions))
    texts.encode(captions, lambda done, missing: reporter.advance(len(captions) - missing + done))
    (empty,) = texts.encoded([""])
    return empty


def _write(
    folder: Path, out: Path, origin: Origin, config: EncodeConfig, networks: _Networks, reporter: Reporter
) -> Encoded:
    begun, encoded = time.perf_counter(), 0

    def progress(now: Progress) -> None:
        nonlocal encoded
        encoded = now.encoded
        reporter.advance(now.passed, f"{now.shards} shards")

    with closing(read_clips(folder, out)) as clips:
        manifest = write_shards(
            out,
            origin,
            clips,
            networks.sample,
            dtype=config.dtype,
            per_shard=config.per_shard,
            progress=progress,
        )
    plan = ClipPlan.load(out / CLIPS)
    seconds = time.perf_counter() - begun
    return Encoded(manifest, plan, plan.new_in(folder), plan.changed_in(folder), encoded, seconds)


def _image_identity(files: EncoderFiles, wanted: bool) -> dict[str, str]:
    """Identity of the encoder of the condition `image`; empty where there is none and none is wanted."""
    if not files.has_images and not wanted:
        return {}
    identity = weights_identity(files.image_files(), files.image_folder)
    return {IMAGE: image_maker(files, identity)}


def _require_fit(cutting: Cutting, codec: VideoCodec) -> None:
    """Refuse lengths and sizes that neither VAE nor transformer can take, before anything is encoded."""
    latent_frames(cutting.frames, codec.temporal)
    unit = codec.spatial * _PATCH
    if cutting.buckets.unit % unit:
        raise ValueError(
            f"got unit={cutting.buckets.unit}, expected a multiple of {unit}: {codec.spatial} pixels per "
            f"latent, {_PATCH} latents per token"
        )


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f"got device={wanted!r}, expected auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"got device={wanted!r}, but torch sees no GPU; use auto or cpu")
    return device
