"""A folder of videos as a cache: what is in it, what interrupts it, what is wrong with it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bad_videos
from fp_data.bucketed import BucketedBatches
from fp_data.buckets import Bucket, BucketsConfig, read_bucket
from fp_data.latents import to_pixels
from fp_data.read_video import probe, write_mp4
from fp_data.shard_manifest import MANIFEST, Manifest
from fp_data.shards import Place, Sample, Shards
from fp_lab.codecs.video import VideoCodec
from fp_lab.conditions.collate import collate
from fp_lab.conditions.encoders import load_encoders
from fp_lab.lab.encoding import encode
from fp_lab.lab.encoding.cache_conditions import EMPTY, read_empty
from fp_lab.lab.encoding.encode import EncodeConfig, check_cache, encode_folder
from fp_lab.lab.encoding.windows import CLIPS, ClipPlan, Cutting
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.tiny_pipelines import build_tiny
from fp_lab.shapes import EncodedText

CUTTING = Cutting(frames=5, buckets=BucketsConfig(area=16 * 32, unit=16))
CAPTIONS = {"a.mp4": "a red ball", "deep/b.mp4": "waves roll onto the beach"}
WIDE, HIGH = Bucket(16, 32), Bucket(32, 16)


class Killed(Exception):
    """Stands for a process that is killed."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: build_tiny(family, root / family) for family in ("framepack", "hunyuan_video", "wan")}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three windows of `a`, two of `deep/b`, one of `c`, which stands on its side and has no caption."""
    folder = tmp_path_factory.mktemp("videos")
    write_mp4(folder / "a.mp4", bad_videos.moving(17, 40, 56), fps=8)
    write_mp4(folder / "deep" / "b.mp4", bad_videos.moving(10, 40, 64, seed=1), fps=8)
    write_mp4(folder / "c.mp4", bad_videos.moving(5, 64, 40, seed=2), fps=8)
    for name, caption in CAPTIONS.items():
        (folder / name).with_suffix(".txt").write_text(f"{caption}\n", encoding="utf-8")
    return folder


@pytest.fixture
def own_videos(videos: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(videos, tmp_path / "videos")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FP_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        # a full collection after each of fifty small models takes most of the time
        patch.setattr("fp_lab.conditions.encoders.gc", SimpleNamespace(collect=int))
        yield


def config_of(model: Path, **changes: Any) -> EncodeConfig:
    return replace(EncodeConfig(str(model), None, CUTTING, "float32", 2, "cpu"), **changes)


@pytest.fixture(scope="module")
def config(models: dict[str, Path]) -> EncodeConfig:
    return config_of(models["framepack"])


@pytest.fixture(scope="module")
def whole(config: EncodeConfig, videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    encode_folder(videos, out, config)
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith(".lock")}


def samples(folder: Path) -> list[Sample]:
    shards = Shards(folder)
    found: dict[int, Sample] = {}
    for number, shard in enumerate(shards.manifest.shards):
        places = [Place(number, row) for row in range(len(shard.indices))]
        found |= zip(shard.indices, shards.read(places), strict=True)
    return [found[index] for index in sorted(found)]


def pixels_of(path: Path, bucket: Bucket, part: slice) -> Tensor:
    """Read from the first frame to the last, cut afterwards."""
    frames = np.stack(list(read_bucket(probe(path), bucket)))[part]
    return to_pixels(torch.from_numpy(frames)[None])


def stop_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Encoding dies at its n-th clip; the windows that it came to."""
    sample = encode._Networks.sample
    seen: list[str] = []

    def stops(self: Any, clip: Any) -> Sample:
        if len(seen) == number:
            raise Killed
        seen.append(str(clip.window))
        return sample(self, clip)

    patch.setattr(encode._Networks, "sample", stops)
    return seen


def test_windows_follow_each_other_by_bucket_and_video(whole: Path) -> None:
    assert [(sample.source, sample.bucket, sample.caption) for sample in samples(whole)] == [
        ("a.mp4[0:5]", WIDE, CAPTIONS["a.mp4"]),
        ("a.mp4[5:10]", WIDE, CAPTIONS["a.mp4"]),
        ("a.mp4[10:15]", WIDE, CAPTIONS["a.mp4"]),
        ("deep/b.mp4[0:5]", WIDE, CAPTIONS["deep/b.mp4"]),
        ("deep/b.mp4[5:10]", WIDE, CAPTIONS["deep/b.mp4"]),
        ("c.mp4[0:5]", HIGH, ""),
    ]
    plan, manifest = ClipPlan.load(whole / CLIPS), Manifest.load(whole)
    assert (plan.skipped, plan.unread) == ((), ())
    assert manifest.origin.data["clips"] == plan.sha256
    assert sorted(manifest.origin.conditions) == ["image", "pooled", "words"]
    assert check_cache(whole) == ()


@torch.no_grad()
def test_latents_and_embeddings_are_those_of_the_codec_and_the_encoders(
    whole: Path, models: dict[str, Path], videos: Path
) -> None:
    codec = VideoCodec.load(models["framepack"])
    encoders = load_encoders(models["framepack"], torch.float32, "cpu")
    for sample in samples(whole):
        name, _, part = sample.source.partition("[")
        start, stop = map(int, part.rstrip("]").split(":"))
        pixels = pixels_of(videos / name, sample.bucket, slice(start, stop))
        assert sample.latents.shape == (16, 2, sample.bucket.height // 8, sample.bucket.width // 8)
        assert torch.equal(sample.latents, codec.encode(pixels)[0])
        (text,) = encoders.texts([sample.caption])
        expected = text.tensors | {"image": encoders.images(pixels[:, :, 0])[0]}
        assert sorted(expected) == sorted(sample.conditions) == ["image", "pooled", "words"]
        assert all(torch.equal(sample.conditions[name], expected[name]) for name in expected)


@torch.no_grad()
def test_wan_at_every_second_frame_in_bfloat16(models: dict[str, Path], videos: Path, tmp_path: Path) -> None:
    config = config_of(models["wan"], cutting=replace(CUTTING, stride=2), dtype="bfloat16")
    made = encode_folder(videos, tmp_path, config)
    held = samples(tmp_path)
    assert [sample.source for sample in held] == ["a.mp4[0:9:2]", "deep/b.mp4[0:9:2]"]
    assert [skip.path for skip in made.plan.skipped] == ["c.mp4"]
    assert made.plan.skipped[0].reason == "has 5 frames, a window of 5 at stride 2 needs 9"
    codec = VideoCodec.load(models["wan"], torch.bfloat16)
    encoders = load_encoders(models["wan"], torch.bfloat16, "cpu")
    for sample in held:
        pixels = pixels_of(videos / sample.source.partition("[")[0], WIDE, slice(0, 9, 2))
        assert torch.equal(sample.latents, codec.encode(pixels)[0].bfloat16())
        assert sorted(sample.conditions) == ["words"]
        assert torch.equal(sample.conditions["words"], encoders.texts([sample.caption])[0].words)


def test_a_batch_of_the_cache_is_a_condition(whole: Path, models: dict[str, Path]) -> None:
    """As training reads it: captions by their lengths, the empty one for those that are dropped."""
    with pytest.warns(UserWarning, match="1 samples, fewer than a batch of 4"):
        batch = BucketedBatches(Shards(whole), 4, 0).batch(0)
    words, lengths = batch["conditions"]["words"], batch["lengths"]["words"].tolist()
    pooled = batch["conditions"]["pooled"]
    texts = [EncodedText(w[:n], p) for w, n, p in zip(words, lengths, pooled, strict=True)]
    encoders = load_encoders(models["framepack"], torch.float32, "cpu", only="texts")
    given = collate("hunyuan_video", [*texts[:3], read_empty(whole)], batch["conditions"]["image"])
    direct = collate("hunyuan_video", encoders.texts([*batch["captions"][:3], ""]))
    assert torch.equal(given.tokens, direct.tokens)


@pytest.mark.parametrize("clip", [3, 5])
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(
    config: EncodeConfig, videos: Path, whole: Path, tmp_path: Path, clip: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, clip)
        with pytest.raises(Killed):
            encode_folder(videos, tmp_path, config)
    if clip == 5:
        assert "only 4 samples are encoded" in str(check_cache(tmp_path)[0])
    made = encode_folder(videos, tmp_path, config)
    assert made.clips == 6 - clip // 2 * 2
    assert contents(tmp_path) == contents(whole)


def test_what_is_whole_is_neither_read_nor_encoded_again(
    config: EncodeConfig, videos: Path, copy: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fp_lab.lab.encoding.windows.probe", lambda path: pytest.fail("looked at again"))
    monkeypatch.setattr(
        "fp_lab.lab.encoding.read_windows.read_bucket", lambda *given: pytest.fail("read again")
    )
    made = encode_folder(videos, copy, config)
    assert (made.clips, made.new, made.manifest.complete) == (0, (), True)
    assert contents(copy) == contents(whole)


def test_a_damaged_shard_is_named_and_made_again(
    config: EncodeConfig, videos: Path, copy: Path, whole: Path
) -> None:
    damaged = copy / "shard-00001.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    (copy / EMPTY).write_bytes((copy / EMPTY).read_bytes()[:-1])
    shard, empty = check_cache(copy)
    assert shard.file == damaged.name
    assert "is damaged: sha256" in shard.problem
    assert empty.file == EMPTY
    assert empty.problem.startswith("is damaged")
    assert not damaged.exists()
    aside = copy / f"{damaged.name}.damaged"
    assert aside.read_bytes() == content
    aside.unlink()
    assert encode_folder(videos, copy, config).clips == 2
    assert contents(copy) == contents(whole)


@pytest.mark.parametrize("fault", ["missing", "bit"])
def test_damaged_embeddings_of_the_empty_caption_are_named(copy: Path, fault: str) -> None:
    content = bytearray((copy / EMPTY).read_bytes())
    content[-1] ^= 1
    (copy / EMPTY).write_bytes(content)
    if fault == "missing":
        (copy / EMPTY).unlink()
    (found,) = check_cache(copy)
    assert str(found).startswith(f"{EMPTY}: is {'missing' if fault == 'missing' else 'damaged'}")


def test_bad_videos_are_named_and_the_others_go_on(
    config: EncodeConfig, own_videos: Path, tmp_path: Path, whole: Path
) -> None:
    good = (own_videos / "a.mp4").read_bytes()
    (own_videos / "noise.mp4").write_bytes(bytes(range(256)) * 9)
    (own_videos / "cut_off.mp4").write_bytes(good[: len(good) // 2])
    write_mp4(own_videos / "deep" / "short.mp4", bad_videos.moving(4), fps=8)
    shutil.copy(own_videos / "a.mp4", own_videos / "worded.mp4")
    (own_videos / "worded.txt").write_bytes(b"caf\xe9")
    made = encode_folder(own_videos, tmp_path / "out", config)
    reasons = {skip.path: skip.reason for skip in made.plan.skipped}
    assert list(reasons) == ["cut_off.mp4", "deep/short.mp4", "noise.mp4", "worded.mp4"]
    assert reasons["deep/short.mp4"] == "has 4 frames, a window of 5 at stride 1 needs 5"
    assert "not UTF-8" in reasons["worded.mp4"]
    names = [f"shard-{number:05}.safetensors" for number in range(len(made.manifest.shards))]
    assert [contents(tmp_path / "out")[name] for name in names] == [contents(whole)[name] for name in names]


def test_a_video_that_goes_bad_on_the_way_loses_nothing_else(
    config: EncodeConfig, own_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was whole when it was looked at; what is left out stays out, so that the rest keeps its place."""
    out, bad = tmp_path / "out", own_videos / "deep" / "b.mp4"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Killed):
            encode_folder(own_videos, out, config)
    kept = bad.read_bytes()
    monkeypatch.setattr("fp_data.read_video._decode_from", _spoiled(bad))
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 1)
        with pytest.raises(Killed):
            encode_folder(own_videos, out, config)
    made = encode_folder(own_videos, out, config)
    assert [skip.path for skip in made.plan.unread] == ["deep/b.mp4[0:5]", "deep/b.mp4[5:10]"]
    assert "spoiled" in made.plan.unread[0].reason
    held = ["a.mp4[0:5]", "a.mp4[5:10]", "a.mp4[10:15]", "c.mp4[0:5]"]
    assert [sample.source for sample in samples(out)] == held
    assert check_cache(out) == ()
    monkeypatch.undo()
    bad.write_bytes(kept)
    assert encode_folder(own_videos, out, config).clips == 0


def _spoiled(bad: Path) -> Any:
    from fp_data.read_video import _decode_from

    def decode(path: str, keyframe: Any) -> Any:
        if path == str(bad):
            raise ValueError(f"{path}: spoiled")
        return _decode_from(path, keyframe)

    return decode


def test_a_lost_shard_needs_its_videos(config: EncodeConfig, own_videos: Path, copy: Path) -> None:
    (copy / "shard-00001.safetensors").unlink()
    gone = own_videos / "deep" / "b.mp4"
    moved = gone.rename(own_videos / "elsewhere.mov")
    with pytest.raises(ValueError, match=r"b\.mp4: .*\bgone\b.*\bshard\b"):
        encode_folder(own_videos, copy, config)
    shutil.copy(own_videos / "c.mp4", gone)
    with pytest.raises(ValueError, match=r"b\.mp4: .*\b\d+ bytes, .*\d+ .*\banother\b"):
        encode_folder(own_videos, copy, config)
    moved.replace(gone)
    assert encode_folder(own_videos, copy, config).clips == 2


def test_a_folder_whose_disk_is_away_is_no_folder_of_bad_videos(
    config: EncodeConfig, own_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    seen = stop_at(monkeypatch, 9)
    begin = Reporter.begin

    def away(self: Reporter, stage: str, total: int) -> None:
        if stage == "clips":
            own_videos.rename(tmp_path / "away")
        begin(self, stage, total)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "begin", away)
        with pytest.raises(ValueError, match=r"\bnone .*\b3 videos"):
            encode_folder(own_videos, out, config)
    assert ClipPlan.load(out / CLIPS).unread == ()
    assert seen == []
    with pytest.raises(ValueError, match=r"\bnone .*\b3 videos"):
        encode_folder(own_videos, out, config)
    assert encode_folder(tmp_path / "away", out, config).clips == 6


def test_new_videos_are_told_of(config: EncodeConfig, own_videos: Path, copy: Path) -> None:
    shutil.copy(own_videos / "a.mp4", own_videos / "deep" / "new.MP4")
    made = encode_folder(own_videos, copy, config)
    assert (made.clips, made.new) == (0, ("deep/new.MP4",))


def test_another_model_precision_or_cut_is_refused(
    config: EncodeConfig, videos: Path, copy: Path, models: dict[str, Path]
) -> None:
    before = contents(copy)
    with pytest.raises(ValueError, match=r"(?s)\bwindows\b.*frames=5.*frames=9"):
        encode_folder(videos, copy, replace(config, cutting=replace(CUTTING, frames=9)))
    with pytest.raises(ValueError, match="dtype: 'float32' there, 'bfloat16' here"):
        encode_folder(videos, copy, replace(config, dtype="bfloat16"))
    with pytest.raises(ValueError, match="encoder_sha256"):
        encode_folder(videos, copy, replace(config, model=str(models["wan"])))
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutting": replace(CUTTING, frames=6)}, r"needs 1 \+ 4n frames, got 6"),
        ({"cutting": replace(CUTTING, buckets=BucketsConfig(16 * 32, 8))}, r"unit=8, expected .*\b16\b"),
        ({"device": "gpu"}, "device='gpu', expected"),
        ({"model": "nowhere"}, "'nowhere'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_encoded(
    config: EncodeConfig, videos: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode_folder(videos, tmp_path, replace(config, **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_another_process_writes_is_left_alone(
    config: EncodeConfig, videos: Path, tmp_path: Path
) -> None:
    with (
        only_writer(tmp_path / "out"),
        pytest.raises(ValueError, match=rf"out: process {os.getpid()} on .* writes into it"),
    ):
        encode_folder(videos, tmp_path / "out", config)
    assert list((tmp_path / "out").glob("[!.]*")) == []


def test_an_image_encoder_may_lie_elsewhere(
    models: dict[str, Path], videos: Path, tmp_path: Path, whole: Path
) -> None:
    """HunyuanVideo comes without the one that FramePack takes."""
    hunyuan = config_of(models["hunyuan_video"])
    made = encode_folder(videos, tmp_path / "without", hunyuan)
    assert sorted(made.manifest.origin.conditions) == ["pooled", "words"]
    encode_folder(videos, tmp_path / "with", replace(hunyuan, image_encoder=str(models["framepack"])))
    for ours, theirs in zip(samples(tmp_path / "with"), samples(whole), strict=True):
        assert torch.equal(ours.conditions["image"], theirs.conditions["image"])
    with pytest.raises(ValueError, match="no image_encoder/"):
        encode_folder(videos, tmp_path / "no", replace(hunyuan, image_encoder=str(models["hunyuan_video"])))


def test_a_folder_without_videos_names_what_is_there(config: EncodeConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got folder='.*/none', expected"):
        encode_folder(tmp_path / "none", tmp_path / "out", config)
    (tmp_path / "noise.mkv").write_bytes(b"noise")
    with pytest.raises(ValueError, match=r"\busable\b.*\n  noise\.mkv: "):
        encode_folder(tmp_path, tmp_path / "out", config)


def test_a_plan_is_read_back_and_a_damaged_one_named(whole: Path, tmp_path: Path) -> None:
    plan = ClipPlan.load(whole / CLIPS)
    less = plan.without(plan.windows[1], "spoiled")
    less.save(tmp_path / CLIPS)
    read = ClipPlan.load(tmp_path / CLIPS)
    assert read == less
    assert read.sha256 == plan.sha256
    assert read.windows == plan.windows[:1] + plan.windows[2:]
    (tmp_path / CLIPS).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"clips\.json: .*damaged"):
        ClipPlan.load(tmp_path / CLIPS)


def test_every_stage_is_told_of(config: EncodeConfig, videos: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int] | int] = []

    class Heard(Reporter):
        def begin(self, stage: str, total: int) -> None:
            told.append((stage, total))

        def advance(self, done: int, note: str = "") -> None:
            told.append(done)

    encode_folder(videos, tmp_path, config, Heard())
    assert told == [("videos", 3), 1, 2, 3, ("captions", 3), ("clips", 6), 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", [CLIPS, MANIFEST])
def test_a_damaged_list_of_windows_or_manifest_is_set_aside_and_made_again(
    config: EncodeConfig, videos: Path, copy: Path, whole: Path, name: str
) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:20])
    with pytest.warns(UserWarning, match=name):
        encode_folder(videos, copy, config)
    (copy / f"{name}.damaged").unlink()
    assert contents(copy) == contents(whole)


def test_exchanged_videos_and_edited_captions_are_named(
    config: EncodeConfig, own_videos: Path, copy: Path
) -> None:
    assert encode_folder(own_videos, copy, config).changed == ()
    video = own_videos / "a.mp4"
    video.write_bytes(video.read_bytes()[:-1] + b"x")
    (own_videos / "c.txt").write_text("another caption", encoding="utf-8")
    assert encode_folder(own_videos, copy, config).changed == ("a.mp4", "c.mp4")
