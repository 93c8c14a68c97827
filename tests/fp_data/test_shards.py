import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from fp_data.buckets import Bucket
from fp_data.shard_manifest import Manifest, Origin
from fp_data.shard_writer import Progress, write_shards
from fp_data.shards import Place, Sample, Shards, check

ORIGIN = Origin({"clips": 11}, "encoder", {"text": "words 1", "image": "eyes 1"})
BUCKETS = Bucket(32, 64), Bucket(64, 32), Bucket(32, 32)
CLIPS = 11


class Stopped(Exception):
    """Stands for a process that is killed."""


def encode(clip: int) -> Sample:
    """Buckets 0 and 1 by turns, clip 4 in bucket 2; texts of 0 to 4 words."""
    random = torch.Generator().manual_seed(clip)
    bucket = BUCKETS[2 if clip == 4 else clip % 2]
    latents = 2 + 3 * torch.randn(3, 5, bucket.height // 8, bucket.width // 8, generator=random)
    text = torch.randn(clip % 5, 6, generator=random, dtype=torch.float64).half()
    image = torch.randn(2, 4, generator=random)
    return Sample(latents, bucket, f"clip {clip}", f"{clip}.mp4", {"text": text, "image": image})


def write(folder: Path, make=encode, **options) -> Manifest:
    return write_shards(folder, ORIGIN, range(CLIPS), make, dtype="float32", per_shard=2, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    write(folder)
    return folder


def everything(shards: Shards) -> Iterator[tuple[int, Sample]]:
    for number, shard in enumerate(shards.manifest.shards):
        places = [Place(number, row) for row in range(len(shard.indices))]
        yield from zip(shard.indices, shards.read(places), strict=True)


def test_every_clip_is_read_back_as_it_was_encoded(whole: Path) -> None:
    read = dict(everything(Shards(whole)))
    assert sorted(read) == list(range(CLIPS))
    assert len(Shards(whole)) == CLIPS
    for clip, sample in read.items():
        made = encode(clip)
        assert (sample.caption, sample.source, sample.bucket) == (made.caption, made.source, made.bucket)
        assert torch.equal(sample.latents, made.latents)
        for name in ("text", "image"):
            assert sample.conditions[name].dtype == made.conditions[name].dtype
            assert torch.equal(sample.conditions[name], made.conditions[name])


def test_a_shard_holds_one_bucket_in_the_order_of_the_clips(whole: Path) -> None:
    shards = Manifest.load(whole).shards
    held = [(shard.file, shard.bucket, shard.indices) for shard in shards]
    wide, high, square = BUCKETS
    assert held == [
        ("shard-00000.safetensors", wide, (0, 2)),
        ("shard-00001.safetensors", high, (1, 3)),
        ("shard-00002.safetensors", high, (5, 7)),
        ("shard-00003.safetensors", wide, (6, 8)),
        ("shard-00004.safetensors", square, (4,)),
        ("shard-00005.safetensors", high, (9,)),
        ("shard-00006.safetensors", wide, (10,)),
    ]
    plain = load_file(whole / "shard-00001.safetensors")
    assert torch.equal(plain["latents"], torch.stack([encode(1).latents, encode(3).latents]))
    assert plain["text"].shape == (1 + 3, 6)


def test_clips_of_other_lengths_get_shards_of_their_own(tmp_path: Path) -> None:
    def make(clip: int) -> Sample:
        return Sample(torch.zeros(1, 1 + clip % 2, 2, 2), Bucket(16, 16), "", "")

    manifest = write_shards(tmp_path, Origin({}, ""), range(4), make)
    assert [(shard.shape, shard.indices) for shard in manifest.shards] == [
        ((1, 1, 2, 2), (0, 2)),
        ((1, 2, 2, 2), (1, 3)),
    ]


def test_whoever_may_read_the_manifest_may_read_the_shards(whole: Path) -> None:
    assert len({(whole / name).stat().st_mode for name in contents(whole)}) == 1


def test_places_are_read_in_the_order_they_are_asked_for(whole: Path) -> None:
    places = [Place(6, 0), Place(0, 1), Place(3, 0), Place(0, 0), Place(0, 1)]
    assert [sample.source for sample in Shards(whole).read(places)] == [
        "10.mp4",
        "2.mp4",
        "6.mp4",
        "0.mp4",
        "2.mp4",
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_statistics_are_those_of_all_stored_latents(tmp_path: Path, dtype: str) -> None:
    manifest = write_shards(tmp_path, ORIGIN, range(CLIPS), encode, dtype=dtype, per_shard=2)
    stored = [sample.latents for _, sample in everything(Shards(tmp_path))]
    assert {latents.dtype for latents in stored} == {getattr(torch, dtype)}
    values = np.concatenate([latents.double().flatten(1).numpy() for latents in stored], axis=1)
    assert manifest.moments is not None
    assert manifest.moments.count == values.shape[1]
    np.testing.assert_allclose(manifest.moments.mean, values.mean(1), rtol=1e-12)
    np.testing.assert_allclose(manifest.moments.std, values.std(1), rtol=1e-12)
    told = json.loads((tmp_path / "manifest.json").read_text())
    assert told["statistics"]["std"] == list(manifest.moments.std)
    assert (told["samples"], told["dtype"], told["complete"]) == (CLIPS, dtype, True)
    assert told["origin"]["conditions"]["text"] == "words 1"


@pytest.mark.parametrize("killed", range(CLIPS))
def test_a_run_that_stops_at_any_clip_is_resumed_to_the_same_bytes(
    whole: Path, tmp_path: Path, killed: int
) -> None:
    def stops(clip: int) -> Sample:
        if clip == killed:
            raise Stopped
        return encode(clip)

    with pytest.raises(Stopped):
        write(tmp_path, stops)
    there = {i for shard in _begun(tmp_path).shards for i in shard.indices} if killed > 2 else set()
    encoded = []
    write(tmp_path, lambda clip: encoded.append(clip) or encode(clip))
    assert contents(tmp_path) == contents(whole)
    assert encoded == [clip for clip in range(CLIPS) if clip not in there]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("killed", range(15))
def test_a_run_that_stops_at_any_write_is_resumed_to_the_same_bytes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int, after: bool
) -> None:
    """7 shards and the manifest after each, then once more; before or after the file gets its name."""
    replace, writes = Path.replace, iter(range(15))

    def stops(self: Path, target: Path) -> Path:
        last = next(writes) == killed
        if last and not after:
            raise Stopped
        replace(self, target)
        if last:
            raise Stopped
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stops)
        with pytest.raises(Stopped):
            write(tmp_path)
    names = {name for name in contents(tmp_path) if name.startswith("shard")}
    assert all(contents(tmp_path)[name] == contents(whole)[name] for name in names)
    assert len(names) == min(7, (killed + 1 + after) // 2)
    write(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_a_shard_that_is_half_written_is_not_there(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def half(path: Path, content: bytes) -> None:
        write_bytes(path, content[: len(content) // 2])
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(Stopped):
            write(tmp_path)
    assert contents(tmp_path) == {}
    (tmp_path / ".shard-00000.safetensors.tmp").write_bytes(b"left by a killed process")
    write(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_a_whole_cache_has_no_fault_and_is_not_encoded_again(whole: Path) -> None:
    before, looked_at = contents(whole), []
    assert check(whole, looked_at.append) == ()
    assert looked_at == [f"shard-{number:05}.safetensors" for number in range(7)]
    write(whole, lambda clip: pytest.fail("encoded again"))
    assert contents(whole) == before


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    for name, content in contents(whole).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_corrupt_missing_and_cut_off_shards_are_named_and_made_again(copy: Path, whole: Path) -> None:
    corrupt, missing, cut_off = (copy / f"shard-0000{number}.safetensors" for number in (1, 3, 5))
    content = bytearray(corrupt.read_bytes())
    content[-1] ^= 1
    corrupt.write_bytes(content)
    missing.unlink()
    cut_off.write_bytes(cut_off.read_bytes()[:-7])
    faults = check(copy)
    assert [fault.file for fault in faults] == [corrupt.name, missing.name, cut_off.name]
    damaged, gone, short = (fault.problem for fault in faults)
    assert "is damaged: sha256" in damaged
    assert "run the command" in damaged
    assert "is missing (2 samples); run the command" in gone
    assert f"has {cut_off.stat().st_size} bytes, expected {cut_off.stat().st_size + 7}; run" in short
    with pytest.raises(
        ValueError,
        match=r"\n  shard-00001.*missing.*\n  shard-00003.*missing.*\n  shard-00005.*has ",
    ):
        Shards(copy)
    assert (copy / f"{corrupt.name}.damaged").read_bytes() == content
    encoded = []
    write(copy, lambda clip: encoded.append(clip) or encode(clip))
    assert encoded == [1, 3, 6, 8, 9]
    aside = sorted(copy.glob("*.damaged"))
    assert [file.name for file in aside] == [f"{file.name}.damaged" for file in (corrupt, cut_off)]
    for file in aside:
        file.unlink()
    assert contents(copy) == contents(whole)


def test_a_repair_that_is_interrupted_goes_on(copy: Path, whole: Path) -> None:
    for number in (0, 2, 6):
        (copy / f"shard-0000{number}.safetensors").unlink()

    def stops(clip: int) -> Sample:
        if clip == 7:
            raise Stopped
        return encode(clip)

    with pytest.raises(Stopped):
        write(copy, stops)
    assert [fault.file for fault in check(copy)] == ["shard-00002.safetensors", "shard-00006.safetensors"]
    write(copy)
    assert contents(copy) == contents(whole)


@pytest.mark.parametrize("at_once", [1, 2, 16])
def test_latents_are_read_alone_a_few_at_a_time(whole: Path, at_once: int) -> None:
    shards = Shards(whole)
    expected = [sample.latents for _, sample in everything(shards)]
    parts = list(shards.latents(at_once))
    assert max(map(len, parts)) == min(at_once, 2)
    found = [latents for part in parts for latents in part]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_shard_that_is_damaged_later_is_named_where_it_is_read(copy: Path) -> None:
    shards, path = Shards(copy), copy / "shard-00002.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(ValueError, match=r"shard-00002.*damaged.*\bcheck\b"):
        shards.read([Place(2, 0)])
    with pytest.raises(ValueError, match=r"shard-00002.*damaged.*\bcheck\b"):
        list(shards.latents(2))


def test_an_incomplete_cache_says_how_to_go_on(tmp_path: Path) -> None:
    def stops(clip: int) -> Sample:
        if clip == 6:
            raise Stopped
        return encode(clip)

    with pytest.raises(Stopped):
        write(tmp_path, stops)
    assert [str(fault) for fault in check(tmp_path)] == [
        "manifest.json: only 4 samples are encoded yet; run the command that made the cache again: it "
        "encodes only what is missing"
    ]
    with pytest.raises(ValueError, match=r"\bonly 4 samples\b"):
        Shards(tmp_path)


def test_progress_tells_what_is_passed_over(tmp_path: Path) -> None:
    def stops(clip: int) -> Sample:
        if clip == 3:
            raise Stopped
        return encode(clip)

    told: list[Progress] = []
    with pytest.raises(Stopped):
        write(tmp_path, stops, progress=told.append)
    assert told == [Progress(1, 1, 0), Progress(2, 2, 0), Progress(3, 3, 1)]
    told.clear()
    write(tmp_path, progress=told.append)
    assert told[:4] == [Progress(1, 0, 1), Progress(2, 1, 1), Progress(3, 1, 1), Progress(4, 2, 2)]
    assert told[-1] == Progress(11, 9, 4)


def test_another_origin_or_form_is_refused_and_says_what_differs(copy: Path) -> None:
    other = Origin({"clips": 11}, "other", ORIGIN.conditions)
    with pytest.raises(
        ValueError, match=r"another folder.*\n  encoder_sha256: 'encoder' there, 'other' here$"
    ):
        write_shards(copy, other, range(CLIPS), encode, dtype="float32", per_shard=2)
    with pytest.raises(ValueError, match=r"dtype: 'float32' .*'float16' .*\n  per_shard: 2 .*3"):
        write_shards(copy, ORIGIN, range(CLIPS), encode, dtype="float16", per_shard=3)
    with pytest.raises(ValueError, match=r"\b11 samples.* 9 clips"):
        write_shards(copy, ORIGIN, range(9), encode, dtype="float32", per_shard=2)


def test_a_tuple_in_the_origin_is_no_other_origin(tmp_path: Path) -> None:
    origin = Origin({"sizes": (32, 64)}, "")
    for _ in range(2):
        write_shards(tmp_path, origin, range(2), lambda _: Sample(torch.ones(1, 1, 1, 1), BUCKETS[0], "", ""))


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match=f"process .*{tmp_path.name}"):
        write(tmp_path)
    write(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": torch.zeros(3, 4, 4)}, r"got latents \(3, 4, 4\), expected"),
        ({"latents": torch.full((3, 5, 4, 8), 7e4)}, r"finite.*torch\.float16"),
        ({"latents": torch.full((3, 5, 4, 8), torch.nan)}, r"finite.* bfloat16"),
        ({"latents": torch.zeros(2, 5, 4, 8)}, r"'latents': .*\(2,\).*expected .*'latents': .*\(3,\)"),
        ({"conditions": {"text": torch.zeros(1, 6)}}, r"got conditions \['text'\], .* \['image', 'text'\]"),
        (
            {"conditions": {"text": torch.tensor(1.0), "image": torch.ones(2, 4)}},
            r"conditions \['text'\] .*axes",
        ),
        (
            {"conditions": {"text": torch.zeros(1, 7).half(), "image": torch.ones(2, 4)}},
            r"'text': \(torch\.float16, \(7,\)\).*expected .*'text': \(torch\.float16, \(6,\)\)",
        ),
        (
            {"conditions": {"text": torch.zeros(1, 6), "image": torch.ones(2, 4)}},
            r"'text': \(torch\.float32, \(6,\)\).*expected .*'text': \(torch\.float16, \(6,\)\)",
        ),
    ],
)
def test_samples_that_cannot_be_stored_are_refused_by_name(tmp_path: Path, change, message: str) -> None:
    def make(clip: int) -> Sample:
        return encode(clip) if clip < 1 else Sample(**(vars(encode(clip)) | change))

    with pytest.raises(ValueError, match=rf"^1\.mp4: .*{message}"):
        write_shards(tmp_path, ORIGIN, range(2), make, dtype="float16")


def test_what_is_no_cache_is_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing: .*manifest\.json"):
        Shards(tmp_path / "nothing")
    with pytest.raises(ValueError, match="new: got no clips"):
        write_shards(tmp_path / "new", ORIGIN, [], encode)
    with pytest.raises(ValueError, match="got per_shard=0"):
        write_shards(tmp_path / "new", ORIGIN, range(3), encode, per_shard=0)
    manifest = copy / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match=r"manifest\.json: .*format 99, expected 1\b"):
        Shards(copy)
    manifest.write_text(text[:-20])
    with pytest.raises(ValueError, match=r"manifest\.json: .*damaged"):
        check(copy)


def _begun(folder: Path) -> Manifest:
    manifest = Manifest.load(folder)
    assert not manifest.complete
    return manifest
