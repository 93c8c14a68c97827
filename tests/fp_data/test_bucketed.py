from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from fp_data.bucketed import BucketBatch, BucketedBatches
from fp_data.buckets import Bucket
from fp_data.shard_manifest import Origin
from fp_data.shard_writer import write_shards
from fp_data.shards import Sample, Shards

COUNTS = {Bucket(16, 32): 9, Bucket(32, 16): 6, Bucket(16, 16): 5}
CLIPS = [bucket for turn in range(9) for bucket, count in COUNTS.items() if turn < count]


def encode(clip: int) -> Sample:
    bucket = CLIPS[clip]
    latents = torch.full((2, 3, bucket.height // 8, bucket.width // 8), clip / 4)
    text = torch.full((1 + clip % 3, 2), float(clip)).half()
    return Sample(latents, bucket, f"clip {clip}", str(clip), {"text": text})


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("cache")
    write_shards(folder, Origin({}, "", {"text": "words"}), range(20), encode, per_shard=4)
    return Shards(folder)


def clips(batches: list[BucketBatch]) -> list[list[int]]:
    return [[int(source) for source in batch["sources"]] for batch in batches]


def first(count: int, shards: Shards, size: int = 2, seed: int = 1, **options) -> list[list[int]]:
    return clips(list(islice(BucketedBatches(shards, size, seed, **options), count)))


def test_a_batch_is_of_one_bucket_and_keeps_all_of_a_sample_together(shards: Shards) -> None:
    for batch in islice(BucketedBatches(shards, 4, seed=0), 6):
        numbers = [int(source) for source in batch["sources"]]
        (bucket,) = {CLIPS[number] for number in numbers}
        assert batch["latents"].shape == (4, 2, 3, bucket.height // 8, bucket.width // 8)
        assert batch["latents"].dtype == torch.float32
        assert batch["latents"][:, 0, 0, 0, 0].tolist() == [number / 4 for number in numbers]
        assert batch["captions"] == [f"clip {number}" for number in numbers]
        lengths, text = batch["lengths"]["text"], batch["conditions"]["text"]
        assert lengths.tolist() == [1 + number % 3 for number in numbers]
        assert text.shape == (4, max(lengths), 2)
        assert text.dtype == torch.float16
        for number, length, words in zip(numbers, lengths, text, strict=True):
            assert (words[:length] == number).all()
            assert (words[length:] == 0).all()


def test_an_epoch_has_every_sample_once_but_for_the_remainder_of_each_bucket(shards: Shards) -> None:
    batches = BucketedBatches(shards, 2, seed=1)
    assert batches.per_epoch == 9 // 2 + 6 // 2 + 5 // 2
    epochs = [first(9, shards, first_batch=9 * epoch) for epoch in range(8)]
    for epoch in epochs:
        delivered = [clip for batch in epoch for clip in batch]
        assert len(set(delivered)) == len(delivered) == 18
        assert Counter(CLIPS[clip] for clip in delivered) == dict(zip(COUNTS, (8, 6, 4), strict=True))
    assert len({str(epoch) for epoch in epochs}) == 8
    assert len({frozenset(clip for batch in epoch for clip in batch) for epoch in epochs}) > 1
    assert {clip for epoch in epochs for batch in epoch for clip in batch} == set(range(20))


def test_buckets_are_mixed_and_batches_are_not_always_of_the_same_samples(shards: Shards) -> None:
    epochs = [first(9, shards, first_batch=9 * epoch) for epoch in range(6)]
    orders = {tuple(CLIPS[batch[0]] for batch in epoch) for epoch in epochs}
    assert len(orders) > 1
    pairs = {frozenset(batch) for epoch in epochs for batch in epoch if CLIPS[batch[0]] == Bucket(32, 16)}
    assert len(pairs) > 3


@pytest.mark.parametrize("start", [0, 5, 9, 40])
def test_a_resumed_sequence_is_the_rest_of_the_uninterrupted_one(shards: Shards, start: int) -> None:
    assert first(6, shards, first_batch=start) == first(start + 6, shards)[start:]


def test_the_order_follows_from_the_seed(shards: Shards) -> None:
    assert first(20, shards, seed=1) == first(20, shards, seed=1)
    assert first(20, shards, seed=1) != first(20, shards, seed=2)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("start", [0, 7])
def test_workers_do_not_change_the_sequence(shards: Shards, workers: int, start: int) -> None:
    """Over more than two epochs, so that each new one reaches the workers."""
    batches = BucketedBatches(shards, 2, 1, first_batch=start)
    loader = DataLoader(batches, batch_size=None, num_workers=workers)
    assert clips(list(islice(loader, 20))) == first(20, shards, first_batch=start)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share_the_batches_that_one_process_would_have(shards: Shards, workers: int) -> None:
    whole = first(10, shards, size=4)
    ranks = []
    for rank in range(2):
        batches = BucketedBatches(shards, 4, 1, rank=rank, ranks=2)
        ranks.append(clips(list(islice(DataLoader(batches, batch_size=None, num_workers=workers), 10))))
    assert [a + b for a, b in zip(*ranks, strict=True)] == whole
    assert all(len(part) == 2 for rank in ranks for part in rank)
    epoch = BucketedBatches(shards, 4, 1).per_epoch
    one, other = ({clip for batch in rank[:epoch] for clip in batch} for rank in ranks)
    assert not one & other
    assert len(one | other) == 4 * epoch


def test_the_cut_into_shards_does_not_matter(shards: Shards, tmp_path: Path) -> None:
    write_shards(tmp_path, Origin({}, "", {"text": "words"}), range(20), encode, per_shard=3)
    assert first(20, Shards(tmp_path)) == first(20, shards)


def test_a_bucket_that_fills_no_batch_is_warned_of(shards: Shards) -> None:
    with pytest.warns(UserWarning, match="bucket 16x16, latents 2x3x2x2: 5 samples, fewer than a batch of 6"):
        batches = BucketedBatches(shards, 6, seed=0)
    assert batches.per_epoch == 2


def test_what_cannot_be_is_refused(shards: Shards) -> None:
    with pytest.raises(ValueError, match=r"\b3 ranks.*got 4$"):
        BucketedBatches(shards, 4, 0, ranks=3)
    with pytest.raises(ValueError, match=r"rank 2 of 2, expected.* 0 to 1"):
        BucketedBatches(shards, 4, 0, rank=2, ranks=2)
    with pytest.raises(ValueError, match=r"batch of 10;.* 9 samples"):
        BucketedBatches(shards, 10, 0)
