from pathlib import Path

import pytest
import torch

from fp_data.latents import (
    LatentBatches,
    LatentVideos,
    VideoChunk,
    cached,
    encode_videos,
    to_frames,
    to_pixels,
)


def chunk(first: int, items: int = 2) -> VideoChunk:
    frames = torch.randint(0, 256, (items, 3, 8, 8, 3), dtype=torch.uint8)
    return VideoChunk(
        frames, tuple(f"video {first + i}" for i in range(items)), tuple(range(first, first + items))
    )


def videos(items: int = 8) -> LatentVideos:
    latents = torch.arange(items).view(-1, 1, 1, 1, 1).expand(-1, 2, 3, 1, 1).float()
    return LatentVideos(latents, tuple(map(str, range(items))), tuple(range(items)))


def test_pixels_and_frames_round_trip() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16, 1).expand(1, 2, 16, 16, 3)
    pixels = to_pixels(frames)
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert torch.equal(to_frames(pixels), frames)


def test_videos_are_encoded_chunk_by_chunk_in_order() -> None:
    encoded = encode_videos([chunk(0), chunk(2)], lambda pixels: pixels.mean((1, 3, 4), keepdim=True))
    assert encoded.latents.shape == (4, 1, 3, 1, 1)
    assert encoded.captions == ("video 0", "video 1", "video 2", "video 3")
    with pytest.raises(ValueError, match="no videos"):
        encode_videos([], lambda pixels: pixels)


def test_the_cache_makes_once_and_tells_descriptions_apart(tmp_path: Path) -> None:
    made = []

    def make() -> LatentVideos:
        made.append(1)
        return videos()

    first = cached(tmp_path, {"codec": "a"}, make)
    again = cached(tmp_path, {"codec": "a"}, make)
    assert len(made) == 1
    assert torch.equal(first.latents, again.latents)
    assert (first.captions, first.seeds) == (again.captions, again.seeds)
    cached(tmp_path, {"codec": "b"}, make)
    assert len(made) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_a_batch_depends_on_seed_and_index_alone() -> None:
    batches = LatentBatches(videos(), 4, seed=1)
    stream = iter(LatentBatches(videos(), 4, seed=1, first_batch=2))
    assert next(stream)["seeds"] == batches.batch(2)["seeds"]
    assert next(stream)["seeds"] == batches.batch(3)["seeds"]
    assert LatentBatches(videos(), 4, seed=2).batch(2)["seeds"] != batches.batch(2)["seeds"]


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_the_batch_that_one_process_would_have(ranks: int) -> None:
    whole = LatentBatches(videos(), 8, seed=1).batch(3)
    parts = [LatentBatches(videos(), 8, seed=1, rank=rank, ranks=ranks).batch(3) for rank in range(ranks)]
    assert [len(part["seeds"]) for part in parts] == [8 // ranks] * ranks
    assert [seed for part in parts for seed in part["seeds"]] == whole["seeds"]
    assert torch.equal(torch.cat([part["latents"] for part in parts]), whole["latents"])
    with pytest.raises(ValueError, match=r"\b3 ranks.*got 8$"):
        LatentBatches(videos(), 8, seed=1, ranks=3)
    with pytest.raises(ValueError, match=r"rank 2 of 2, expected.* 0 to 1"):
        LatentBatches(videos(), 8, seed=1, rank=2, ranks=2)


def test_a_batch_keeps_latents_captions_and_seeds_together() -> None:
    batch = LatentBatches(videos(), 5, seed=0).batch(9)
    assert len(set(batch["seeds"])) == 5
    assert batch["captions"] == [str(seed) for seed in batch["seeds"]]
    assert batch["latents"][:, 0, 0, 0, 0].tolist() == batch["seeds"]


def test_videos_tell_what_training_asks_of_them() -> None:
    encoded = videos(5)
    assert encoded.shapes == {(3, 1, 1): 5}
    assert torch.equal(torch.cat(list(encoded.chunks(2))), encoded.latents)
    whole = LatentBatches(encoded, 4, seed=1, first_batch=2).batch(3)
    parts = [encoded.batches(4, 1, rank=rank, ranks=2, first_batch=2).batch(3) for rank in range(2)]
    assert [seed for part in parts for seed in part["seeds"]] == whole["seeds"]
    assert encoded.batches(4, 1, first_batch=2).first_batch == 2


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="the 8 videos, got 9"):
        LatentBatches(videos(), 9, seed=0)
