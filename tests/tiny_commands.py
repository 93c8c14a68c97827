"""The inputs that the commands of the documents name, tiny, and settings under which each takes a moment.

The words of a command stay as they are printed and its files are read whole; only what it then works on is
made small: two arms of a grid, two steps, videos of one section, networks with random weights. Pages are left
out, as their pictures take longer than all the rest.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import fp_data.get_clips
import fp_lab.lab.report
from bad_videos import moving
from fixtures import tiny_base, tiny_codec, tiny_config, tiny_experiment
from fp_data.buckets import BucketsConfig
from fp_data.crops import CropsConfig
from fp_data.read_video import write_mp4
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.codecs.tiny import CodecConfig
from fp_lab.lab import probe
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding import encode
from fp_lab.lab.evaluate import against, score_folders
from fp_lab.lab.evaluate.score_file import Measuring
from fp_lab.lab.grids import grid
from fp_lab.lab.grids.engines import local
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.probe.held_out import HeldOutConfig
from fp_lab.lab.report import checkpoints_page
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling import generate, load_model, openings
from fp_lab.lab.tiny_pipelines import build_tiny
from fp_lab.lab.training import pretrain, train_codec
from real_arms import real_config

CLIPS = ("my_clips", "my_videos", "model_a", "model_b", "new", "old", "videos", "vizdoom/train")
PIPELINES = {
    "wan": ("models/wan", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
    "framepack": (
        *("models/HunyuanVideo", "lllyasviel/flux_redux_bfl", "hunyuanvideo-community/HunyuanVideo"),
        *("lllyasviel/FramePackI2V_HY", "lllyasviel/FramePack_F1_I2V_HY_20250503"),
    ),
}
TRACKED = ("g9", "td_f16k4f2k2f1k1_g9")
CUTTING = encode.Cutting(5, 1, BucketsConfig(16 * 16, 16))
OF_OWN = ("track.every=2", "track.score=false", "evaluation.families=[plain, world]", "evaluation.frames=19")
GRID = "name: mine\nbase: base\narms: [{recipe: g9}]\n"


def tiny_inputs(folder: Path) -> Path:
    """Write the models, folders of videos, grids and prompts that the documents name; the folder."""
    tiny_codec(folder / "codec")
    tiny_base(folder / "base")
    tiny_experiment(folder / "tiny")
    write_mp4(folder / "dog.mp4", moving(60, 32, 64), 16)
    Image.fromarray(moving(1, 32, 64)[0]).save(folder / "dog.png")
    for name in CLIPS:
        (folder / name).mkdir(parents=True)
        for clip in ("a", "b"):
            write_mp4(folder / name / f"{clip}.mp4", moving(60, 32, 32, ord(clip)), 16)
            (folder / name / f"{clip}.txt").write_text("a dog runs")
    (folder / "prompts.csv").write_text("file,prompt\na.mp4,a dog runs\nb.mp4,a cat sits\n")
    for family, places in PIPELINES.items():
        made = build_tiny(family, folder / places[0])  # type: ignore[arg-type]
        for place in places[1:]:
            shutil.copytree(made, folder / place)
    (folder / "my_grids").mkdir()
    for file in ("mine.yaml", "my_grids/mine.yaml"):
        (folder / file).write_text(GRID)
    return folder


def small(config: ExperimentConfig, folder: Path) -> ExperimentConfig:
    """An experiment with its recipe and options, but little to do."""
    frames = config.evaluation.given + 2 * config.parsed_recipe.section  # in one, orders are the same
    data, training, track = config.data, config.training, config.track
    steps = min(2, training.steps)
    return replace(
        config,
        data=replace(
            data,
            train_videos=2,
            world=replace(data.world, size=32, frames=frames),
            clips=replace(data.clips, folder=str(folder / "my_clips"), size=32, frames=frames),
        ),
        codec=replace(config.codec, source=str(folder / "codec")),
        model=replace(config.model, base=str(folder / "base")),
        optimizer=replace(config.optimizer, warmup=1),
        training=replace(
            training, steps=steps, batch=2, threads=1, accelerator="cpu", devices=1, compute_of=None
        ),
        sampling=replace(config.sampling, solver=replace(config.sampling.solver, steps=1)),
        evaluation=replace(
            config.evaluation,
            videos=2,
            frames=frames,
            batch=2,
            strips=1,
            families=("plain",),
            perceptual=False,
        ),
        track=replace(track, every=min(track.every, steps), videos=1),
    )


def small_base(config: pretrain.PretrainConfig, folder: Path) -> pretrain.PretrainConfig:
    codec = folder / "codec" if config.codec == "shipped" else tiny_codec(Path(config.codec))
    backbone = TinyDiTConfig(4, width=32, depth=1, head_width=16, moments=config.backbone.moments)
    return replace(
        config,
        backbone=backbone,
        world=replace(config.world, size=32, frames=33),
        videos=dict.fromkeys(config.videos, 1),
        batch=2,
        devices=1,
        steps=1,
        codec=str(codec),
        threads=1,
        optimizer=replace(config.optimizer, warmup=1, decay=0.0),
    )


def small_codec(config: train_codec.CodecRunConfig) -> train_codec.CodecRunConfig:
    return replace(
        config,
        codec=CodecConfig(4, (4, 4, 8, 8), (0, 1, 1, 1), (0, 1, 1, 1)),
        training=replace(config.training, steps=1),
        crops=CropsConfig(size=32, world=2, real=1),
        statistics_batches=1,
        threads=1,
    )


def make_small(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let commands do little: see the module."""
    _small_grids(patch, folder)
    _small_trainings(patch, folder)
    _small_videos(patch)


def _small_grids(patch: pytest.MonkeyPatch, folder: Path) -> None:
    merge, differences = grid.merge, grid.differences
    patch.setattr(grid, "merge", lambda layers: small(merge(layers), folder))
    patch.setattr(grid, "differences", lambda *given: list(differences(*given))[:2])
    patch.setattr(local, "workers_that_fit", lambda arms: 1)
    patch.setattr(fp_lab.lab.report, "write_report", lambda *given, **more: folder / "report.html")
    patch.setattr(checkpoints_page, "write_track_page", lambda *given: folder / "track.html")


def _small_trainings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(fp_data.get_clips, "get_clips", lambda to, **more: _copy(folder / "my_clips", to))
    patch.setattr(pretrain, "pretrain_base", base_in_moments(folder))
    patch.setattr(train_codec, "train_codec", codec_in_moments())
    fidelity = {"plain": {"psnr_db": 9.0, "psnr_inside_masks_db": 9.0}}
    patch.setattr(train_codec, "codec_fidelity", lambda codec: fidelity)
    probed, held_out = probe.train_probe, HeldOutConfig(renders=8, videos=1, frames=6, generated=0)

    def train_probe(config: Any, *given: Any, **more: Any) -> Any:
        return probed(replace(config, steps=1, batch=16), *given, **more, held_out=held_out)

    patch.setattr(probe, "train_probe", train_probe)


def _small_videos(patch: pytest.MonkeyPatch) -> None:
    scored, encoding = score_folders.score_folders, encode.encode_folder
    load, size_of, length_of = load_model.load_model, openings.size_of, generate.length_of

    def score(paths: Any, *, measuring: Measuring, **more: Any) -> Any:
        """Without the usual family, whose weights are a download."""
        return scored(paths, measuring=replace(measuring, families=("plain",)), **{**more, "workers": 1})

    def encoded(videos: Path, out: Path, config: encode.EncodeConfig, *given: Any) -> Any:
        """In a new folder: a cache of another command is not continued."""
        shutil.rmtree(out, ignore_errors=True)
        return encoding(videos, out, replace(config, cutting=CUTTING), *given)

    patch.setattr(score_folders, "score_folders", score)
    patch.setattr(against, "refuse_before_scoring", lambda *given: None)  # which knows the usual family
    patch.setattr(encode, "encode_folder", encoded)
    patch.setattr(load_model, "load_model", lambda *given: _few_steps(load(*given)))
    patch.setattr(openings, "size_of", lambda pixels, *given: size_of("32x64"))
    patch.setattr(
        generate, "length_of", lambda config, codec, given, *asked: length_of(config, codec, given, 0.01)
    )


def base_in_moments(folder: Path) -> Callable[..., Any]:
    """The training of a base made small, after that of the base that it starts from."""
    train = pretrain.pretrain_base

    def trained(config: pretrain.PretrainConfig, to: Path, *given: Any) -> Any:
        config = small_base(config, folder)
        if config.start is not None:
            train(replace(config, start=None), Path(config.start), *given)
        return train(config, to, *given)

    return trained


def codec_in_moments() -> Callable[..., Any]:
    """The training of a codec made small, after that of the codec that it starts from."""
    train = train_codec.train_codec

    def trained(config: train_codec.CodecRunConfig, clips: Path, to: Path, *given: Any) -> Any:
        config = small_codec(config)
        if config.start is not None:
            tiny_codec(Path(config.start))
        return train(config, clips, to, *given)

    return trained


def _copy(source: Path, to: Path) -> None:
    shutil.copytree(source, to, dirs_exist_ok=True)


def _few_steps(loaded: load_model.LoadedModel) -> load_model.LoadedModel:
    sampling = loaded.config.sampling
    sampling = replace(sampling, solver=replace(sampling.solver, steps=2))
    slowly = replace(loaded.config.evaluation, fps=1.5)  # so that a scene after 20 s begins in a short video
    return replace(loaded, config=replace(loaded.config, sampling=sampling, evaluation=slowly))


def prepare(words: tuple[str, ...], folder: Path) -> None:
    """Make what an earlier command of the reader has left."""
    if words[0] == "encode" and "--check" in words:
        config = encode.EncodeConfig("models/wan", device="cpu")
        encode.encode_folder(Path(words[1]), Path(words[2]), config, Reporter())
    if "--against" in words:
        metrics = words[words.index("--metrics") + 1].split(",") if "--metrics" in words else None
        measuring = Measuring(("plain",), metrics and tuple(metrics))
        score_folders.score_folders([Path("old")], measuring=measuring, workers=1)
    for place in _runs_of(words):
        if not (place / "config.yaml").is_file():
            _trained(place, {"demo_drift", "base"} & set(place.parts) != set(), folder)


def _runs_of(words: tuple[str, ...]) -> list[Path]:
    """Trained runs that a command reads."""
    if words[0] not in ("track", "generate"):
        return []
    named = [Path(word) for word in words if "/seed" in word or word.startswith("my/")]
    grids = [Path(word) for word in words if word in ("runs/base", "runs/demo_drift")]
    return named + [place / arm / "seed0" for place in grids for arm in TRACKED]


def _trained(place: Path, own: bool, folder: Path) -> None:
    """A run of the lab's own backbone with checkpoints, or of a transformer of diffusers."""
    if own:
        config = tiny_config(folder / "tiny", [f"recipe={place.parts[2]}", *OF_OWN])
    else:
        config = real_config("wan", folder / "tiny", ("recipe=td_f2k2f1k1_g3", "objective.given=[0, 1]"))
    run(place, config, Materials(folder / "cache", Reporter()), Reporter(), stages=("train",))
