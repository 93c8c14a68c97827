"""Training of codec and base at tiny size: what is written, resumed, refused."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import torch
import yaml
from lightning import LightningModule, Trainer

from fixtures import real_clip, tiny_codec
from fp_data.crops import Crops, CropsConfig, FrameCrops
from fp_data.latents import LatentBatches, together
from fp_data.worlds import WorldConfig
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.checks.finite import NotFinite
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.provenance.base_origin import PROVENANCE_FILE
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.fit_with_curve import CURVE_FILE, Curve
from fp_lab.lab.training.pretrain import PretrainConfig, pretrain_base, world_latents
from fp_lab.lab.training.train_codec import CodecRunConfig, train_codec
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import FreeSections, MixedSections
from fp_lab.packing.packer import interpolate_projection
from fp_lab.recipe import Kernel
from fp_lab.training.codec_system import CodecTrainingConfig
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.optimizer import OptimizerConfig

CODEC = CodecRunConfig(
    codec=CodecConfig(4, (4, 4, 8, 8), (0, 1, 1, 1), (0, 1, 1, 1)),
    training=CodecTrainingConfig(steps=20),
    crops=CropsConfig(size=32, world=6, real=1),
    statistics_batches=2,
    threads=1,
)
BASE = PretrainConfig(
    backbone=TinyDiTConfig(channels=4, width=32, depth=1, head_width=16),
    sections=MixedSections(("td_f2k2f1k1_g3",), FreeSections(section=3, known=2), share=0.5),
    optimizer=OptimizerConfig(warmup=1, decay=0.5),
    world=WorldConfig(size=32, frames=10),
    videos={"plain": 2, "curtain": 2},
    batch=2,
    steps=6,
    checkpoint_every=2,
    threads=1,
)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(real_clip("carphone_pristine.mp4"), folder)
    return folder


def steps_of(folder: Path) -> list[int]:
    return [int(row.split(",")[0]) for row in (folder / CURVE_FILE).read_text().splitlines()[1:]]


def test_a_codec_is_trained_and_refined(clips: Path, tmp_path: Path) -> None:
    first = train_codec(CODEC, clips, tmp_path / "first", "fp-lab codec train mine")
    assert steps_of(tmp_path / "first") == [10, 20]
    record = json.loads((tmp_path / "first" / PROVENANCE_FILE).read_text())
    assert record["command"] == "fp-lab codec train mine"
    assert list(record["clips"]) == ["carphone_pristine.mp4"]
    assert not torch.equal(first.latent_std, torch.ones(4)), "latent statistics were fitted"

    decoder_only = replace(CODEC.training, decoder_only=True)
    refined = replace(CODEC, start=str(tmp_path / "first"), training=decoder_only)
    second = train_codec(refined, clips, tmp_path / "second", "fp-lab codec train refined")
    assert second.encoder_sha256 == first.encoder_sha256
    assert second.sha256 != first.sha256
    assert json.loads((tmp_path / "second" / PROVENANCE_FILE).read_text())["start"] == record
    with pytest.raises(ValueError, match="needs start=FOLDER"):
        train_codec(replace(CODEC, training=decoder_only), clips, tmp_path / "third", "")


def test_an_interrupted_codec_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips").mkdir()
    config = replace(CODEC, crops=replace(CODEC.crops, real=0), checkpoint_every=8)
    whole = train_codec(config, tmp_path / "clips", tmp_path / "whole", "")
    made = FrameCrops.batch

    def failing(self: FrameCrops, index: int) -> Crops:
        if index == 17:
            raise RuntimeError("power is out")
        return made(self, index)

    monkeypatch.setattr(FrameCrops, "batch", failing)
    with pytest.raises(RuntimeError, match="power is out"):
        train_codec(config, tmp_path / "clips", tmp_path / "stopped", "")
    monkeypatch.undo()
    stopped = torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)
    assert stopped["global_step"] == 16
    with (tmp_path / "stopped" / CURVE_FILE).open("a") as file:
        file.write("20,1.0,1.0\n")
    shorter = replace(config, training=replace(config.training, steps=16))
    train_codec(shorter, tmp_path / "clips", tmp_path / "stopped", "")
    assert steps_of(tmp_path / "stopped") == [10], "the curve ends where the weights are from"
    assert train_codec(config, tmp_path / "clips", tmp_path / "stopped", "").sha256 == whole.sha256
    assert steps_of(tmp_path / "stopped") == [10, 20]


def pretrained(folder: Path, codec: Path, steps: int = 6, **changes: object) -> FramePackModel:
    config = replace(BASE, codec=str(codec), steps=steps, **changes)  # type: ignore[arg-type]
    return pretrain_base(config, folder, codec.parent / "cache", "fp-lab pretrain mine")


def same(one: FramePackModel, other: FramePackModel) -> bool:
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


def test_an_interrupted_base_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    codec = tiny_codec(tmp_path / "codec")
    whole = pretrained(tmp_path / "whole", codec)
    stopped = pretrained(tmp_path / "stopped", codec, steps=2, optimizer=OptimizerConfig(warmup=1, decay=0.0))
    assert not same(whole, stopped)
    assert same(whole, pretrained(tmp_path / "stopped", codec)), "the constant phase ends where one asks"
    assert FramePackModel.load(tmp_path / "whole").sha256 == whole.sha256


def test_devices_share_a_batch_and_average_their_gradients(tmp_path: Path) -> None:
    codec = tiny_codec(tmp_path / "codec")
    start = pretrained(tmp_path / "start", codec, steps=1)
    config = replace(BASE, codec=str(codec), start=str(tmp_path / "start"), steps=1, ema=0.0, devices=2)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
    command = [sys.executable, "-m", "fp_lab", "pretrain", "two.yaml", "--to", "two", "--runs", "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sha256") == 1, "one process writes and tells"

    system = FramePackSystem(
        start.train(), config.sections, config.objective, config.optimizer, steps=1, seed=config.seed
    )
    seeds = range(config.first_seed, config.first_seed + 2)
    worlds = [replace(config.world, variant=variant) for variant in config.videos]
    parts = [world_latents(world, seeds, Codec.load(codec), tmp_path / "cache") for world in worlds]
    losses = [
        system.section_loss(
            LatentBatches(together(parts), 2, config.seed, rank=rank, ranks=2).batch(0),
            step_generator(0, rank, 0),
        )
        for rank in range(2)
    ]
    (sum(losses) / 2).backward()
    torch.nn.utils.clip_grad_norm_(start.parameters(), config.gradient_clip)
    optimizer = system.configure_optimizers()["optimizer"]
    learning_rate = optimizer.param_groups[0]["lr"]
    optimizer.step()
    trained = FramePackModel.load(tmp_path / "two").state_dict()
    for name, value in start.state_dict().items():
        # Adam's first step is the gradient's sign: a few that are nearly zero may fall the other way
        assert (trained[name] - value).abs().mean() < 0.05 * learning_rate, name


def test_a_training_goes_on_in_a_folder_that_was_moved_and_needs_no_room_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = tiny_codec(tmp_path / "codec")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    before = os.umask(0o022)
    try:
        pretrained(tmp_path / "here", codec, steps=2, optimizer=OptimizerConfig(warmup=1, decay=0.0))
        (tmp_path / "here").rename(tmp_path / "there")
        pretrained(tmp_path / "there", codec, steps=4)
    finally:
        os.umask(before)
    written = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "there").glob("[!.]*")}
    names = ("config.json", "curve.csv", "last.ckpt", "model.safetensors", "provenance.json")
    assert written == dict.fromkeys(names, "0o644")


def test_two_trainings_into_one_folder_are_refused(clips: Path, tmp_path: Path) -> None:
    codec = tiny_codec(tmp_path / "codec")
    with only_writer(tmp_path / "out"):
        for train in (
            lambda: pretrained(tmp_path / "out", codec),
            lambda: train_codec(CODEC, clips, tmp_path / "out", ""),
        ):
            with pytest.raises(ValueError, match=rf"out: process {os.getpid()} on .* writes into it"):
                train()
    assert list((tmp_path / "out").glob("[!.]*")) == []


def test_worlds_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"videos: got courtain, expected .*plain, "):
        replace(BASE, videos={"plain": 2, "courtain": 2})


def test_arms_start_from_the_projections_that_a_base_has_learned(tmp_path: Path) -> None:
    base = pretrained(tmp_path / "base", tiny_codec(tmp_path / "codec"))
    learned = base.packer.projections["2x4x4"].weight
    spread, _ = interpolate_projection(base.backbone.embed, Kernel(2, 4, 4))
    assert not torch.equal(learned, spread), "it has been trained"
    arm = base.with_kernels((Kernel(2, 4, 4), Kernel(4, 8, 8)))
    assert torch.equal(arm.packer.projections["2x4x4"].weight, learned)
    wider, _ = interpolate_projection(base.packer.base_projection(), Kernel(4, 8, 8))
    assert torch.equal(arm.packer.projections["4x8x8"].weight, wider), "a kernel that it has not seen"


def test_a_base_goes_on_from_another(tmp_path: Path) -> None:
    codec = tiny_codec(tmp_path / "codec")
    plain = replace(BASE.backbone, moments=False)
    first = pretrained(tmp_path / "first", codec, backbone=plain)
    second = pretrained(tmp_path / "second", codec, steps=1, start=str(tmp_path / "first"))
    record = json.loads((tmp_path / "second" / PROVENANCE_FILE).read_text())
    assert record["start"]["sha256"] == first.sha256
    assert record["encoder_sha256"] == Codec.load(codec).encoder_sha256
    near = first.backbone.blocks[0].qkv.weight - second.backbone.blocks[0].qkv.weight
    assert near.abs().max() < 0.01, "one step away"
    wider = replace(BASE.backbone, depth=2)
    with pytest.raises(ValueError, match=r"start: .*\bbackbone\b"):
        pretrained(tmp_path / "third", codec, backbone=wider, start=str(tmp_path / "first"))


def test_trainings_that_diverge_stop_at_the_step_and_leave_no_weights(tmp_path: Path) -> None:
    source = str(tiny_codec(tmp_path / "codec"))
    codec = replace(
        CODEC,
        training=replace(CODEC.training, learning_rate=1e30),
        crops=replace(CODEC.crops, real=0),
    )
    base = replace(BASE, codec=source, optimizer=OptimizerConfig(learning_rate=1e30, warmup=1))
    (tmp_path / "clips").mkdir()
    with pytest.raises(NotFinite, match="step 2: train/loss nan"):
        pretrain_base(base, tmp_path / "new" / "base", tmp_path / "cache", "test")
    with pytest.raises(NotFinite, match="step 2: codec/psnr nan"):
        train_codec(codec, tmp_path / "clips", tmp_path / "new" / "codec", "test")
    assert {path.name for path in (tmp_path / "new").rglob("[!.]*.*")} == {CURVE_FILE}


def test_a_curve_that_was_cut_off_while_it_was_written_is_continued(tmp_path: Path) -> None:
    path = tmp_path / CURVE_FILE
    trainer = create_autospec(Trainer, instance=True)
    for cut in ("20,0.4", "2", "\0\0\0", ""):
        path.write_text(f"step,loss,seconds\n10,0.50000,1.5\n{cut}")
        curve = Curve(path, "loss", 20, Reporter())
        curve.on_fit_start(trainer, create_autospec(LightningModule, instance=True))
        assert path.read_text().split() == ["step,loss,seconds", "10,0.50000,1.5"], cut
