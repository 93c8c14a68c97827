"""Encoded videos: made once, stored as safetensors, delivered in seeded batches."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import IterableDataset

from fp_data.atomic import replacing
from fp_data.batch_share import Share
from fp_data.damaged import naming_damage, parse_json, set_aside
from fp_data.tensor_file import read_tensors


class Batch(TypedDict):
    """Latents ``b c t h w``, a caption and a seed per video; embeddings of first frames where there are."""

    latents: Tensor
    captions: list[str]
    seeds: list[int]
    images: NotRequired[Tensor]
    hidden: NotRequired[Tensor]


@dataclass(frozen=True)
class LatentVideos:
    """Encoded videos of equal length.

    Attributes:
        latents: ``n c t h w``.
        captions: one per video.
        seeds: that the videos were made from.
        images: embeddings of the first frames ``n i e``, for models that take them.
        hidden: cells of the latents that something covers, bool ``n t h w``, where that is known.
    """

    latents: Tensor
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    images: Tensor | None = None
    hidden: Tensor | None = None

    @property
    def shapes(self) -> dict[tuple[int, int, int], int]:
        """Frames, rows and columns of latents, and how many videos have them."""
        frames, rows, columns = self.latents.shape[2:]
        return {(frames, rows, columns): len(self.latents)}

    def chunks(self, at_once: int) -> Iterable[Tensor]:
        """All latents ``b c t h w`` in their order, so many videos at a time."""
        return self.latents.split(at_once)

    def batches(
        self, size: int, seed: int, *, rank: int = 0, ranks: int = 1, first_batch: int = 0
    ) -> "LatentBatches":
        """Seeded batches of these videos; arguments as of `LatentBatches`."""
        return LatentBatches(self, size, seed, rank=rank, ranks=ranks, first_batch=first_batch)


def together(parts: Sequence[LatentVideos]) -> LatentVideos:
    """Videos of several data sets, all without embeddings of first frames, as one."""
    hidden = [part.hidden for part in parts if part.hidden is not None]
    return LatentVideos(
        torch.cat([part.latents for part in parts]),
        tuple(caption for part in parts for caption in part.captions),
        tuple(seed for part in parts for seed in part.seeds),
        hidden=torch.cat(hidden) if len(hidden) == len(parts) else None,
    )


@dataclass(frozen=True)
class VideoChunk:
    """A few videos before encoding: frames uint8 ``b t h w c``, captions and seeds."""

    frames: Tensor
    captions: tuple[str, ...]
    seeds: tuple[int, ...]


def encode_videos(
    chunks: Iterable[VideoChunk],
    encode: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor] | None = None,
) -> LatentVideos:
    """Encode chunk by chunk.

    Args:
        chunks: videos of equal length.
        encode: pixels ``b c t h w`` in [-1, 1] -> latents ``b c t h w``.
        embed: first frames ``b c h w`` in [-1, 1] -> embeddings ``b i e``.
    """
    latents: list[Tensor] = []
    images: list[Tensor] = []
    captions: list[str] = []
    seeds: list[int] = []
    for chunk in chunks:
        pixels = to_pixels(chunk.frames)
        latents.append(encode(pixels))
        if embed is not None:
            images.append(embed(pixels[:, :, 0]))
        captions += chunk.captions
        seeds += chunk.seeds
    if not latents:
        raise ValueError("no videos to encode")
    embedded = torch.cat(images) if images else None
    return LatentVideos(torch.cat(latents), tuple(captions), tuple(seeds), embedded)


def to_pixels(frames: Tensor) -> Tensor:
    """Frames uint8 ``b t h w c`` as pixels float32 ``b c t h w`` in [-1, 1]."""
    return frames.movedim(-1, 1).float() / 127.5 - 1


def to_frames(pixels: Tensor) -> Tensor:
    """Pixels ``b c t h w`` in [-1, 1] as frames uint8 ``b t h w c``.

    Raises:
        ValueError: pixels that are NaN, which would become black.
    """
    if pixels.numel() and pixels.amax().isnan():  # NaN passes through
        raise ValueError("got pixels that are NaN, expected [-1, 1]; what has made them is broken")
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1)


def cached(folder: Path, description: dict[str, object], make: Callable[[], LatentVideos]) -> LatentVideos:
    """Encoded videos from a cache, made and stored if they are not there, or not as they were stored.

    Args:
        folder: the cache.
        description: all that the latents depend on (data config, seeds, encoder); its hash is the key.
        make: encodes the videos.
    """
    text = json.dumps(description, sort_keys=True)
    path = folder / f"latents-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        try:
            return _load(path)
        except ValueError as error:
            warnings.warn(f"{error}; it is now {set_aside(path).name}, and made again", stacklevel=2)
    _store(make(), path, text)
    return _load(path)


def _store(videos: LatentVideos, path: Path, made_from: str) -> None:
    tensors = {"latents": videos.latents.contiguous()}
    tensors |= {} if videos.images is None else {"images": videos.images.contiguous()}
    metadata = {
        "captions": json.dumps(videos.captions),
        "seeds": json.dumps(videos.seeds),
        "made_from": made_from,
        "sha256": _sha256(tensors),
    }
    with replacing(path) as unfinished:
        save_file(tensors, unfinished, metadata)


def _load(path: Path) -> LatentVideos:
    tensors, metadata = read_tensors(path)
    with naming_damage(path):
        captions, seeds = (tuple(parse_json(metadata[name])) for name in ("captions", "seeds"))
    if _sha256(tensors) != metadata.get("sha256", _sha256(tensors)):
        raise ValueError(f"{path}: is damaged: its content has another hash than when it was written")
    return LatentVideos(tensors["latents"], captions, seeds, tensors.get("images"))


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(name.encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


class LatentBatches(IterableDataset[Batch]):
    """Endless batches; batch ``i`` depends on (seed, i) alone, so training resumes where it stopped.

    Ranks that train together share each batch: every one takes an equal part of it, and no video is in two.

    Args:
        videos: to draw from.
        size: of a batch, over all ranks.
        seed: of the draws.
        rank: whose part is delivered.
        ranks: how many share a batch.
        first_batch: where to begin.

    Raises:
        ValueError: a batch larger than the data, one that cannot be shared equally, or a rank that does not
            exist.
    """

    def __init__(
        self,
        videos: LatentVideos,
        size: int,
        seed: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        first_batch: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= size <= len(videos.latents):
            raise ValueError(
                f"batch size must lie between 1 and the {len(videos.latents)} videos, got {size}"
            )
        self.videos, self.size, self.seed, self.first_batch = videos, size, seed, first_batch
        self.share = Share(size, rank, ranks)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from `first_batch` on."""
        index = self.first_batch
        while True:
            yield self.batch(index)
            index += 1

    def batch(self, index: int) -> Batch:
        """This rank's part of the batch of a given index: different videos, drawn without replacement."""
        random = np.random.Generator(np.random.Philox(key=[self.seed * 65_537, index]))
        drawn = random.choice(len(self.videos.latents), self.size, replace=False)
        rows = self.share.of(drawn).tolist()
        batch = Batch(
            latents=self.videos.latents[rows],
            captions=[self.videos.captions[row] for row in rows],
            seeds=[self.videos.seeds[row] for row in rows],
        )
        if self.videos.images is not None:
            batch["images"] = self.videos.images[rows]
        if self.videos.hidden is not None:
            batch["hidden"] = self.videos.hidden[rows]
        return batch
