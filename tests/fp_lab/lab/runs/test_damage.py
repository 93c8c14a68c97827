"""Lost and damaged files of a run: each is found, named and set aside, and its stage done again."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from fixtures import tiny_base, tiny_codec, tiny_config, tiny_experiment
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import STAGES, RunFolder, Stage
from fp_lab.lab.grids.grid import load_single
from fp_lab.lab.grids.run_grid import GridResult, run_grid
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runs.identity import Identity, write_identity
from fp_lab.lab.runs.job import Job, pending_stages
from fp_lab.lab.runs.run import run
from fp_lab.lab.runs.run_job import run_job
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.sampling.resume import KeptSections
from fp_lab.lab.scoring.noise_floor import prepare_truth
from fp_lab.lab.tracking import Tracker
from fp_lab.model import FramePackModel
from fp_lab.recipe import BASE, parse
from fp_lab.recipe.orders import plan
from fp_lab.sampling.rollout import RolledSection

TRUTH = "truth"
PLAN = plan(parse("td_f2k2f1k1_g3"), 9, given=frozenset())


class Listening(Reporter):
    def __init__(self, at_step: Callable[[], object] = lambda: None) -> None:
        self.lines: list[str] = []
        self.steps: list[int] = []
        self.at_step = at_step

    def say(self, line: str) -> None:
        self.lines.append(line)

    def trained(self, step: Step) -> None:
        self.steps.append(step.step)
        self.at_step()


@pytest.fixture(scope="module")
def whole(folder: Path, config: ExperimentConfig, materials: Materials) -> Path:
    """A grid's folder with one finished run and the ground truth."""
    grid = folder / "runs"
    prepare_truth(grid / TRUTH, config, materials, Reporter())
    assert run(grid / "arm" / "seed0", config, materials, Reporter()) == list(STAGES)
    return grid


@pytest.fixture
def grid(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil, its files a little younger."""
    return shutil.copytree(whole, tmp_path / "runs", copy_function=shutil.copy)


def place_of(grid: Path) -> RunFolder:
    return RunFolder(grid / "arm" / "seed0")


def bits(grid: Path) -> dict[str, bytes]:
    """All that does not tell the time."""
    files = (f for kind in ("safetensors", "videos.parquet", "mp4") for f in grid.rglob(f"*{kind}"))
    return {file.relative_to(grid).as_posix(): file.read_bytes() for file in files}


def delete(file: Path) -> None:
    file.unlink()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def rot(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 64)
    content[middle] = bytes(255 - byte for byte in content[middle])
    file.write_bytes(content)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


SPOILT = (delete, truncate, empty, zero)


def test_whatever_happens_to_whichever_file_is_found(grid: Path, config: ExperimentConfig) -> None:
    keys = stage_keys(config)
    for place, stage, key in (
        *((place_of(grid), stage, getattr(keys, stage)) for stage in STAGES),
        (RunFolder(grid / TRUTH), "truth", keys.truth),
    ):
        assert place.is_done(stage, key), "a copy is as good"
        record = json.loads(place.done_file(stage).read_text())
        left = {file for part in place._places(stage) for file in [part, *part.rglob("*")] if file.is_file()}
        assert {place.path / name for name in record["outputs"]} == left
        for file in left:
            content = file.read_bytes()
            for spoil in SPOILT:
                spoil(file)
                assert not place.is_done(stage, key), (spoil.__name__, file)
                (found,) = place.damage(stage).items()
                assert found[0] == file
                assert ("missing" in found[1]) == (spoil is delete)
                file.write_bytes(content)
            assert place.is_done(stage, key), "it is back"


@pytest.mark.parametrize(
    ("name", "spoil", "done"),
    [
        ("train/model/model.safetensors", truncate, ["train", "sample", "score"]),
        ("train.done.json", empty, ["train", "sample", "score"]),
        ("samples/own.safetensors", zero, ["sample", "score"]),
        ("samples/own-00.mp4", empty, ["sample", "score"]),
        ("scores/summary.json", empty, ["score"]),
        ("score.done.json", truncate, ["score"]),
    ],
)
def test_its_stage_is_done_again_to_the_same_bits(
    whole: Path, grid: Path, config: ExperimentConfig, materials: Materials,
    name: str, spoil: Callable[[Path], None], done: list[Stage],
) -> None:  # fmt: skip
    place, listening = place_of(grid), Listening()
    spoil(place.path / name)
    spoilt = (place.path / name).read_bytes()
    assert pending_stages(place, stage_keys(config)) == done
    assert run(place.path, config, materials, listening) == done
    assert [line for line in listening.lines if str(place.path / name) in line]
    kept = place.path / f"{Path(name).name}.damaged"
    assert kept.read_bytes() == spoilt
    kept.unlink()
    assert bits(grid) == bits(whole)
    assert pending_stages(place, stage_keys(config)) == []


def test_folders_that_are_gone_are_made_again(
    whole: Path, grid: Path, config: ExperimentConfig, materials: Materials
) -> None:
    place = place_of(grid)
    for part in ("train", "samples", "scores"):
        shutil.rmtree(place.path / part)
    assert run(place.path, config, materials, Reporter()) == list(STAGES)
    assert bits(grid) == bits(whole)


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("name", ["efficiency.json", "provenance.json", "config.yaml"])
def test_what_several_stages_write_is_written_again_without_them(
    grid: Path, config: ExperimentConfig, name: str, spoil: Callable[[Path], None]
) -> None:
    place = place_of(grid)
    keys, identity = stage_keys(config), Identity.of(config)
    write_identity(place.path.parent, identity)
    job = Job("arm", config, keys, identity, place.path, grid / TRUTH, grid / "cache", STAGES)
    before = (place.path / name).read_text()
    assert job.is_whole
    spoil(place.path / name)
    assert job.pending == []
    assert not job.is_whole
    outcome = run_job(job, Materials(grid / "cache", Reporter()), Reporter())
    assert (outcome.state, outcome.stages) == ("done", ())
    written = (place.path / name).read_text()
    assert written == before if name == "config.yaml" else json.loads(written) == json.loads(before)
    assert job.is_whole


def test_an_old_record_is_believed_where_its_outputs_are(grid: Path, config: ExperimentConfig) -> None:
    place, key = place_of(grid), stage_keys(config).train
    place.done_file("train").write_text(json.dumps({"key": key, "seconds": 1.0}))
    assert place.is_done("train", key)
    empty(place.model / "model.safetensors")
    assert not place.is_done("train", key)


@pytest.mark.parametrize("spoil", [truncate, empty, zero, rot, make_folder])
def test_a_damaged_checkpoint_is_set_aside_and_training_begins_again(
    whole: Path, tmp_path: Path, config: ExperimentConfig, materials: Materials, spoil: Callable[[Path], None]
) -> None:
    place = RunFolder(tmp_path / "arm")

    def kill() -> None:
        if place.checkpoint.is_file():
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(place.path, config, materials, Listening(kill), stages=("train",))
    spoil(place.checkpoint)
    listening = Listening()
    run(place.path, config, materials, listening, stages=("train",))
    (line,) = listening.lines
    assert str(place.checkpoint) in line
    assert "weights_only" not in line
    assert "Error" not in line
    assert listening.steps == [1, 2, 3, 4]
    assert (place.path / "train" / "last.ckpt.damaged").exists()
    model = place_of(whole).model / "model.safetensors"
    assert (place.model / "model.safetensors").read_bytes() == model.read_bytes()


@pytest.mark.parametrize("spoil", [truncate, empty, zero])
def test_damaged_latents_are_encoded_again(
    config: ExperimentConfig, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    made = torch.cat([*Materials(tmp_path, Reporter()).training(config).chunks(4)]).clone()
    (cache,) = tmp_path.glob("latents-*.safetensors")
    spoil(cache)
    with pytest.warns(UserWarning, match=cache.name):
        again = Materials(tmp_path, Reporter()).training(config)
    assert (tmp_path / f"{cache.name}.damaged").is_file()
    assert torch.cat([*again.chunks(4)]).equal(made)


def test_what_changed_during_the_work_is_not_called_done(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, ["evaluation.videos=1"])
    other = tmp_path / "other"
    torch.manual_seed(1)
    words = FramePackModel.load(str(tiny_base(other))).backbone.config.words
    backbone = TinyDiTConfig(channels=4, width=32, depth=1, head_width=16, words=words)
    FramePackModel(TinyDiT(backbone), [BASE], "clean").save(other)
    base = tmp_path / "base" / "model.safetensors"

    def exchange() -> None:
        if other.exists():
            shutil.copy(other / "model.safetensors", base)
            shutil.rmtree(other)

    place, listening = RunFolder(tmp_path / "runs" / "arm" / "seed0"), Listening(exchange)
    before, truth = stage_keys(config), tmp_path / "runs" / TRUTH
    job = Job("arm", config, before, Identity.of(config), place.path, truth, tmp_path / "cache", STAGES)
    outcome = run_job(job, Materials(job.cache, listening), listening)
    assert outcome.state == "done"
    assert [line for line in listening.lines if str(tmp_path / "base") in line]
    assert listening.steps == [1, 2, 3, 4] * 2
    after = stage_keys(config)
    assert after.train != before.train
    assert pending_stages(place, after) == []
    assert pending_stages(place, before) == list(STAGES)
    assert replace(job, keys=after).is_whole


def test_another_codec_under_the_same_name_is_loaded_anew(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    materials = Materials(tmp_path / "cache", Reporter())
    before = materials.codec(config).sha256
    codec = materials.codec(config).cpu()
    torch.nn.init.ones_(next(codec.parameters()))  # type: ignore[arg-type]
    codec.save(tmp_path / "codec")  # type: ignore[operator]
    assert materials.codec(config).sha256 != before


@pytest.mark.parametrize("spoil", [truncate, empty, zero, rot])
def test_a_damaged_section_is_made_again_and_it_alone(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    made = [RolledSection(index, section, torch.full((999,), index)) for index, section in enumerate(PLAN)]
    assert len([*KeptSections(tmp_path, "k").keeping(made)]) == 3
    spoil(tmp_path / "00001.safetensors")
    with pytest.warns(UserWarning, match="00001.safetensors"):
        kept = KeptSections(tmp_path, "k")
    assert list(kept) == [0, 2]
    assert (tmp_path / "00001.safetensors.damaged").is_file()
    assert len(KeptSections(tmp_path, "another key")) == 0


@pytest.mark.parametrize("spoil", [truncate, empty, zero])
def test_models_that_are_damaged_are_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    for load, folder in (
        (Codec.load, tiny_codec(tmp_path / "c")),
        (FramePackModel.load, tiny_base(tmp_path / "b")),
    ):
        for name in ("model.safetensors", "config.json"):
            content = (folder / name).read_bytes()
            spoil(folder / name)
            with pytest.raises(ValueError, match=f"^{folder / name}: "):
                load(str(folder))
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("spoil", [truncate, empty, zero])
def test_a_damaged_data_base_of_mlflow_is_set_aside(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as base, base:
        base.execute("CREATE TABLE runs (name TEXT)")
        base.executemany("INSERT INTO runs VALUES (?)", [("x" * 99,)] * 999)
    spoil(tmp_path / "mlflow.db")
    lines: list[str] = []
    assert Tracker(tmp_path, lines.append).grid("grid", tmp_path).open()
    (line,) = lines
    assert str(tmp_path / "mlflow.db") in line
    assert (tmp_path / "mlflow.db.damaged").is_file()


def test_a_grid_sends_again_what_mlflow_has_lost_and_writes_its_report_again(tmp_path: Path) -> None:
    grid, runs = load_single(tiny_experiment(tmp_path), []), tmp_path / "runs"

    def call() -> GridResult:
        return run_grid(grid, runs, Console(quiet=True), command="test")

    result = call()
    assert result.report is not None
    page, files = result.report.read_bytes(), sorted((runs / "mlartifacts").rglob("*.*"))
    assert len(files) > 5
    written = result.report.stat().st_mtime_ns
    assert call().report == result.report
    assert result.report.stat().st_mtime_ns == written, "nothing has changed"
    shutil.rmtree(runs / "mlartifacts")
    truncate(result.report)
    unfinished = result.report.with_name(".1.curves-plain.png")
    unfinished.write_bytes(b"")
    call()
    assert not unfinished.exists(), "what a killed process has left"
    assert sorted((runs / "mlartifacts").rglob("*.*")) == files
    assert len(result.report.read_bytes()) == len(page)
    assert (result.folder / "index.html.damaged").is_file()
