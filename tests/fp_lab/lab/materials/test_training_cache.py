"""Arms that train from a cache: the same bits however it is read, without encoders, if it fits them."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import bad_videos
from fixtures import TINY
from fp_data.buckets import Bucket, BucketsConfig, read_bucket
from fp_data.latents import to_pixels
from fp_data.read_video import probe, write_mp4
from fp_data.shard_manifest import MANIFEST
from fp_lab.backbones.diffusers.lora import LORA_FILE
from fp_lab.conditions.encoders import load_encoders
from fp_lab.lab.config import ExperimentConfig, load, to_yaml
from fp_lab.lab.encoding import text_embeddings as encoded_texts
from fp_lab.lab.encoding.cache_conditions import EMPTY
from fp_lab.lab.encoding.conditions import attach_text_embeddings
from fp_lab.lab.encoding.encode import EncodeConfig, encode_folder
from fp_lab.lab.encoding.windows import Cutting
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.first_batch.changes import LookedAt, changes_of
from fp_lab.lab.materials import training_videos
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.materials.training_videos import CachedVideos, data_loader
from fp_lab.lab.planning.flops import training_tflop
from fp_lab.lab.planning.latent_shape import LatentShape
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.tiny_pipelines import build_tiny
from fp_lab.lab.training.fit import fit
from fp_lab.packing.codebook import codebook_stats
from fp_lab.packing.token_counts import tokens_per_sample
from fp_lab.shapes import EncodedText
from fp_lab.training.framepack_system import LatentBatch, step_generator

FRAMES = 13
BUCKETS = {"wide.mp4": Bucket(16, 64), "broad.mp4": Bucket(16, 64), "square.mp4": Bucket(32, 32)}
CAPTIONS = {"wide": "a red ball rolls over the floor", "broad": "a dog", "square": "waves"}
SHAPES = {(4, 2, 8): 3, (4, 4, 4): 2}


class Killed(Reporter):
    def trained(self, step: Step) -> None:
        if step.step == 3:
            raise RuntimeError("killed")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pipelines that differ in their weights, videos of two sizes, their cache, an experiment."""
    folder = tmp_path_factory.mktemp("root")
    build_tiny("framepack", folder / "framepack")
    build_tiny("framepack", folder / "other", seed=1)
    videos = folder / "videos"
    write_mp4(videos / "wide.mp4", bad_videos.moving(2 * FRAMES, 24, 96), fps=8)
    write_mp4(videos / "broad.mp4", bad_videos.moving(FRAMES, 24, 80, seed=2), fps=8)
    write_mp4(videos / "square.mp4", bad_videos.moving(2 * FRAMES, 40, 40, seed=1), fps=8)
    for name, caption in CAPTIONS.items():
        (videos / f"{name}.txt").write_text(caption)
    (folder / "tiny.yaml").write_text(TINY.format(folder=folder), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FP_LAB_CACHE", str(tmp_path_factory.mktemp("fp_lab_cache")))
        patch.setattr("fp_lab.conditions.encoders.gc", SimpleNamespace(collect=int))
        yield


@pytest.fixture(scope="module")
def cache(root: Path) -> Path:
    cutting = Cutting(FRAMES, buckets=BucketsConfig(area=32 * 32, unit=16, aspect=4))
    config = EncodeConfig(str(root / "framepack"), None, cutting, "float32", 2, "cpu")
    with pytest.MonkeyPatch.context() as patch:  # elsewhere than training looks for embeddings
        patch.setenv("FP_LAB_CACHE", str(root / "encoding"))
        encode_folder(root / "videos", root / "cache", config)
    return root / "cache"


def config_of(root: Path, *overrides: str) -> ExperimentConfig:
    settings = {
        "recipe": "td_f2k2_g3",
        "model.base": root / "framepack",
        "codec.source": root / "framepack",
        "data.cache": root / "cache",
        "model.lora.rank": 2,
        "objective.flow.output": "velocity",
        "objective.caption_dropout": 0.5,
        "sampling.negative_prompt": "blurry",  # which training is not told
        "training.batch": 2,
    }
    return load(root / "tiny.yaml", [*(f"{name}={value}" for name, value in settings.items()), *overrides])


def test_what_arms_over_a_cache_change_is_seen_without_their_weights(root: Path, cache: Path) -> None:
    settings = {
        "first": (),
        "packed": ("recipe=td_f2k2f1k1_g3",),
        "noisy": ("objective.history.noise=0.3",),
        "wider": ("model.lora.rank=4",),
        "unused": ("objective.history.sigma=0.3",),
        "guided": ("sampling.guidance=2.0",),
    }
    moved = root / "moved.safetensors"
    weights = next((root / "framepack" / "transformer").glob("*.safetensors"))
    arms = [LookedAt(name, config_of(root, *overrides)) for name, overrides in settings.items()]
    weights.rename(moved)
    try:
        found = changes_of(arms)
    finally:
        moved.rename(weights)
    assert [name for name, change in found.items() if change.unseen] == ["guided"]
    assert set(found["packed"].parts) >= {"tokens", "loss"}
    assert found["noisy"].parts == ("history", "loss")
    assert found["wider"].parts == ("loss",)
    assert "objective.history.sigma=0.3" in found["unused"].fault
    assert found["guided"].text == "sampling.guidance; not looked at"
    assert "text encoders" in found["guided"].unseen


def trained(folder: Path, config: ExperimentConfig, reporter: Reporter | None = None) -> RunFolder:
    place = RunFolder(folder)
    place.path.mkdir(parents=True, exist_ok=True)
    place.config.write_text(to_yaml(config))
    materials = Materials(folder.parent / "materials", Reporter())
    fit(place, config, "key", materials, reporter or Reporter(), None)
    return place


def weights(place: RunFolder) -> dict[str, torch.Tensor]:
    return {
        name: value
        for file in (LORA_FILE, "model.safetensors")
        for name, value in load_file(place.model / file).items()
    }


def assert_same_training(one: RunFolder, other: RunFolder) -> None:
    found, expected = weights(one), weights(other)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    steps = [
        pd.read_parquet(place.loss).drop(columns=["step_seconds", "tokens_per_second"])
        for place in (one, other)
    ]
    pd.testing.assert_frame_equal(*steps, check_exact=True)


@pytest.fixture(scope="module")
def whole(root: Path, cache: Path) -> RunFolder:
    """Trained in one go by one process, where nothing is encoded yet and nothing can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FP_LAB_CACHE", str(root / "nothing"))
        for module in ("text_embeddings", "conditions"):
            patch.setattr(
                f"fp_lab.lab.encoding.{module}.load_encoders", lambda *a, **k: pytest.fail("encoders")
            )
        return trained(root / "whole", config_of(root))


@pytest.fixture(scope="module")
def videos(root: Path, cache: Path) -> CachedVideos:
    found = Materials(root / "materials", Reporter()).training(config_of(root))
    assert isinstance(found, CachedVideos)
    return found


def test_an_arm_learns_without_encoders(whole: RunFolder) -> None:
    learned = [value.abs().max() for name, value in weights(whole).items() if "lora_B" in name]
    assert min(learned) > 0


def test_both_sizes_are_trained_on_and_counted(whole: RunFolder, videos: CachedVideos, root: Path) -> None:
    """Two batches are an epoch, one of each size."""
    delivered = [tuple(batch["latents"].shape) for batch in islice(videos.batches(2, 0), 4)]
    for epoch in (delivered[:2], delivered[2:]):
        assert sorted(epoch) == [(2, 16, 4, 2, 8), (2, 16, 4, 4, 4)]
    assert videos.shapes == SHAPES
    config = config_of(root)
    one, other = (tokens_per_sample(config.parsed_recipe, None, *shape) for shape in SHAPES)
    assert one != other
    steps = pd.read_parquet(whole.loss)
    tokens = steps["tokens_per_second"] * steps["step_seconds"]
    np.testing.assert_allclose(tokens, 2 * (3 * one + 2 * other) / 5)
    one, other = (training_tflop(config, LatentShape(*shape)) for shape in SHAPES)
    assert training_tflop(config) == pytest.approx((3 * one + 2 * other) / 5)


def test_workers_do_not_change_a_bit(root: Path, whole: RunFolder) -> None:
    config = config_of(root, "training.workers=2")
    assert_same_training(trained(root / "workers", config), whole)
    assert stage_keys(config) == stage_keys(config_of(root))


def test_a_killed_training_ends_with_the_same_bits(root: Path, whole: RunFolder) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        trained(root / "killed", config_of(root), Killed())
    assert torch.load(root / "killed" / "train" / "last.ckpt", weights_only=True)["global_step"] == 2
    assert_same_training(trained(root / "killed", config_of(root, "training.workers=2")), whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_have_different_parts_of_the_same_batches(videos: CachedVideos, workers: int) -> None:
    def sources(**share: int) -> list[list[str]]:
        batches = data_loader(videos.batches(2, 3, **share), workers)
        return [batch["sources"] for batch in islice(batches, 12)]

    together = [videos.batches(2, 3).batch(index)["sources"] for index in range(12)]
    parts = [sources(rank=rank, ranks=2) for rank in range(2)]
    assert [one + other for one, other in zip(*parts, strict=True)] == together
    epochs = [together[begin : begin + 2] for begin in range(0, 12, 2)]
    assert all(len({source for batch in epoch for source in batch}) == 4 for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 2


def test_workers_are_refused_where_shared_memory_has_no_room_for_them(
    videos: CachedVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 kB, as in small containers: workers would wait for room without end."""
    free = SimpleNamespace(free=64 * 1024)
    monkeypatch.setattr(training_videos.shutil, "disk_usage", lambda path: free)
    batch = next(iter(videos.batches(2, 3)))
    assert batch["latents"].nbytes > 0
    with pytest.raises(ValueError, match=r"training\.workers: got 9, .* through /dev/shm, where 0\.1 MB"):
        data_loader(videos.batches(2, 3), 9)
    data_loader(videos.batches(2, 3), 0)
    free.free = 10**9
    assert data_loader(videos.batches(2, 3), 2).timeout > 0


def as_encoders_say(root: Path, sources: list[str]) -> LatentBatch:
    """Latents and first frames of windows, made anew; captions are texts."""
    codec = Materials(root / "materials", Reporter()).codec(config_of(root))
    pixels, captions = [], []
    for source in sources:
        name, _, part = source.rstrip("]").partition("[")
        start, stop = map(int, part.split(":"))
        frames = np.stack(list(read_bucket(probe(root / "videos" / name), BUCKETS[name])))[start:stop]
        pixels.append(to_pixels(torch.from_numpy(frames)[None]))
        captions.append(CAPTIONS[name.removesuffix(".mp4")])
    encoders = load_encoders(root / "framepack", torch.float32, "cpu", only="images")
    return LatentBatch(
        latents=torch.cat([codec.encode(each) for each in pixels]),
        captions=captions,
        images=torch.cat([encoders.images(each[:, :, 0]) for each in pixels]),
    )


def test_the_loss_is_that_of_embeddings_made_by_the_encoders(
    root: Path, videos: CachedVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(root)
    materials = Materials(root / "materials", Reporter())
    model = build_model(config, materials.codec(config).channels)
    model = attach_text_embeddings(model, config, videos.captions, guided=False)
    system = build_system(config, model)
    batches = [videos.batches(2, 5).batch(index) for index in range(6)]
    with torch.no_grad():
        found = [system.section_loss(b, step_generator(0, 0, i)) for i, b in enumerate(batches)]  # type: ignore[arg-type]
        monkeypatch.setenv("FP_LAB_CACHE", str(root / "afresh"))
        loads = []
        monkeypatch.setattr(
            encoded_texts, "load_encoders", lambda *a, **k: loads.append(1) or load_encoders(*a, **k)
        )
        attach_text_embeddings(model, config, ())
        direct = [as_encoders_say(root, batch["sources"]) for batch in batches]
        expected = [system.section_loss(b, step_generator(0, 0, i)) for i, b in enumerate(direct)]
    assert any(len(set(batch["captions"])) == 2 for batch in direct), "a batch of captions of two lengths"
    assert loads, "embeddings were made anew"
    assert torch.equal(torch.stack(found), torch.stack(expected))
    assert len({loss.item() for loss in found}) == 6


def test_what_the_model_is_not_told_is_left_out(videos: CachedVideos) -> None:
    batch = videos.batches(2, 0).batch(0)
    assert batch["images"].shape[0] == 2
    assert batch["images"].dtype == batch["latents"].dtype == torch.float32
    assert all(isinstance(caption, EncodedText) for caption in batch["captions"])
    assert "images" not in replace(videos, images=False).batches(2, 0).batch(0)


def test_a_codebook_is_fitted_chunk_by_chunk(root: Path, videos: CachedVideos) -> None:
    chunks = list(videos.chunks(2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert {chunk.dtype for chunk in chunks} == {torch.float32}
    recipe = f"{config_of(root).recipe}+D4"
    fitted = Materials(root / "materials", Reporter()).codebook(config_of(root, f"recipe={recipe}"))
    assert fitted is not None
    pixels = torch.cat([chunk.flatten(2) for chunk in chunks])[..., None, None]
    assert fitted.stats.error == pytest.approx(codebook_stats(fitted.codebook, [pixels]).error)
    assert 0 < fitted.stats.relative_error < 1


def test_the_key_follows_the_content_and_not_the_place(root: Path, cache: Path, tmp_path: Path) -> None:
    key = stage_keys(config_of(root)).train
    copy = shutil.copytree(cache, tmp_path / "copy")
    elsewhere = f"data.cache={copy}"
    for unimportant in ("data.train_videos=1", "data.first_seed=20000", "training.workers=1"):
        assert stage_keys(config_of(root, elsewhere, unimportant)).train == key
    assert stage_keys(config_of(root, "data.cache=null")).train != key
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["shards"][1]["sha256"] = "0" * 64
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert stage_keys(config_of(root, elsewhere)).train != key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["codec.source={root}/other"],
            r"latents: .*VAE [0-9a-f]+, expected [0-9a-f]+ \(codec\.source .*other",
        ),
        (
            ["model.conditions={root}/other"],
            r"words: .*hunyuan_video \w+, 256 tokens, expected .*model\.conditions",
        ),
        (["model.images={root}/other"], r"image: .*hunyuan_video \w+, expected .*model\.images"),
        (["model.dtype=bfloat16"], r"precision: found float32, expected bfloat16 \(model.encoder_dtype"),
        (["model.encoder_dtype=float16"], r"precision: found float32, expected float16"),
        (["codec.dtype=bfloat16"], r"latents: .*codec.dtype bfloat16\)"),
        (["training.batch=4"], r"batch of 4;.* 3\b"),
        (
            ["model.base=null", "model.lora=null"],
            r"data\.cache: got .* model\.base None, expected",
        ),
    ],
)
def test_an_arm_that_the_cache_does_not_fit_is_refused(
    root: Path, cache: Path, settings: list[str], message: str
) -> None:
    config = config_of(root, *(setting.format(root=root) for setting in settings))
    with pytest.raises(ValueError, match=message):
        trained(root / "refused", config)


def spoiled(cache: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((cache / MANIFEST).read_text())
    change(manifest)
    (cache / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda cache: shutil.rmtree(cache), r"\bcopy: .*manifest\.json"),
        (lambda cache: (cache / EMPTY).unlink(), f"{EMPTY}: .*missing"),
        (lambda cache: (cache / EMPTY).write_bytes(bytes(9)), f"{EMPTY}: .*damaged"),
        (lambda cache: (cache / "shard-00001.safetensors").unlink(), r"shard-00001\.safetensors: .*missing"),
        (lambda cache: spoiled(cache, lambda m: m.update(complete=False)), r"\bonly 5 samples"),
        (
            lambda cache: spoiled(cache, lambda m: m["origin"]["conditions"].pop("image")),
            "image: .*no encoder, expected .*hunyuan_video",
        ),
    ],
)
def test_a_cache_with_a_fault_is_refused(
    root: Path, cache: Path, tmp_path: Path, fault: Callable[[Path], None], message: str
) -> None:
    copy = shutil.copytree(cache, tmp_path / "copy")
    fault(copy)
    with pytest.raises(ValueError, match=message):
        trained(tmp_path / "refused", config_of(root, f"data.cache={copy}"))


def test_settings_go_with_a_cache(root: Path) -> None:
    assert config_of(root, "training.batch=6").data.train_videos == 4
    with pytest.raises(ValueError, match=r"training.workers: got 2 with data.cache null, expected 0"):
        config_of(root, "training.workers=2", "data.cache=null")
    with pytest.raises(ValueError, match=r"training.workers: got -1"):
        config_of(root, "training.workers=-1")
