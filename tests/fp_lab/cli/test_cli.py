"""The command line: quick to start, plain about mistakes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bad_videos
from fixtures import tiny_config, tiny_experiment
from fp_data.clips import probe
from fp_lab.cli import app
from fp_lab.lab.dry_run import cost_estimate
from fp_lab.lab.dry_run.cost_estimate import Cost
from fp_lab.lab.files.experiments import find_grids
from fp_lab.lab.grids import run_grid as grid_run
from fp_lab.lab.grids.grid import Grid, load_grid
from fp_lab.lab.grids.run_grid import GridResult
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runs.identity import Identity, write_identity
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter

HEAVY = "torch", "lightning", "mlflow", "pandas", "diffusers", "omegaconf", "matplotlib", "av"


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def fresh(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own, which ends by naming the heavy modules that it has loaded."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('loaded:', *[m for m in {HEAVY} if m in sys.modules]))\n"
        f"sys.argv[1:] = {list(arguments)}\n"
        "from fp_lab.cli import app\napp()\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_an_error_is_said_once() -> None:
    done = fresh("grid", "demo", "sampling.rope_jitter=nan", "--dry-run")
    assert done.returncode == 2
    assert done.stderr.count("got nan") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "td_f16k4f2k2f1k1_g9"]])
def test_a_look_around_loads_nothing_heavy(arguments: list[str]) -> None:
    done = fresh(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_the_command_line_is_a_module_too() -> None:
    command = [sys.executable, "-m", "fp_lab"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: fp-lab" in done.stdout


def test_every_command_is_there_and_helps() -> None:
    code, text = invoke("--help")
    assert code == 0
    for command in (
        "train",
        "generate",
        "grid",
        "compare",
        "claims",
        "track",
        "influence",
        "efficiency",
        "plan",
        "encode",
        "evaluate",
        "explain",
        "pretrain",
        "codec",
        "data",
        "weights",
        "probe",
    ):
        assert re.search(rf"\b{command}\b", text), command
        assert invoke(command, "--help")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grid", "dmo"], "did you mean"),
        (["grid", "demo", "trainig.steps=3", "--dry-run"], "did you mean training.steps"),
        (["grid", "/proc/self/mem"], "/proc/self/mem: cannot be read: Input/output error"),
        (["train", "base", "order=inverse"], "did you mean 'inverted'"),
        (["data", "get", "films"], "expected clips"),
        (["data", "make", "films"], "expected vizdoom"),
        (["generate"], "got no checkpoint and no recipe"),
        (["generate", "--image", "a.png", "--video", "b.mp4"], "got --image and --video, expected one"),
        (["generate", "--seconds", "5", "--frames", "9"], "got --seconds and --frames, expected one"),
        (["generate", "--checkpoint", "nowhere"], "got nowhere and no recipe"),
        (["generate", "--seed", "1", "--seed", "1"], "seed: got 1 2 times, expected it once"),
        (["generate", "--frames", "1000000000"], "--frames"),
        (["generate", "--config", "."], "experiment file: got '.', expected a file, or a name"),
        (["generate", "--out="], "--out: got an empty text"),
        (["generate", "--image", ""], "--image: got an empty text"),
        (["evaluate", "", "--family", "plain"], "got an empty text, expected a name, a path"),
        (["data", "render", "--to", ""], "--to: got an empty text"),
        (["train", "."], "experiment file: got '.', expected a file, or a name"),
        (["pretrain", "."], "experiment file: got '.', expected a file, or a name"),
        (["train", ""], "got an empty text"),
        (["evaluate", "videos", "--family", "plain,plain"], "family: got plain 2 times"),
        (["data", "render", "--fps", "1e-300"], "--fps"),
        (["explain", "f1k3_g9"], "expected"),
        (["explain", "causal_attention", "--protocol", "papers"], "expected one of paper, equal_tokens"),
    ],
)
def test_mistakes_cost_a_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    code, text = invoke(*arguments)
    assert code == 2, text
    assert message in text
    assert "Traceback" not in text


def test_a_dry_run_shows_the_arms_and_runs_nothing(tmp_path: Path) -> None:
    tiny_experiment(tmp_path)
    grid = tmp_path / "grid.yaml"
    grid.write_text("base: tiny\narms: [{recipe: g3}, {recipe: td_f2k2f1k1_g3}]\n", encoding="utf-8")
    code, text = invoke("grid", str(grid), "--dry-run", "--runs", str(tmp_path / "runs"))
    assert code == 0, text
    assert len(re.findall(r"\d s\b.*\d s\b.*\d s\b", text)) == 2, "three stages of two arms, with their cost"
    assert "(first)" in text
    assert "tokens" in text, "what the second arm changes"
    assert "not whole" not in text
    (told,) = [
        line for line in text.splitlines() if "k2 on 4x4 latents is one token for 2 whole frames" in line
    ]
    assert told.endswith("(td_f2k2f1k1_g3)")
    code, text = invoke(
        "grid", str(grid), "data.world.frames=12", "--dry-run", "--runs", str(tmp_path / "runs")
    )
    (told,) = [line for line in text.splitlines() if "not whole" in line]
    for part in ("data.world.frames=12", "whole are 10 latent frames or 13", "25% of the steps", "(g3, td_"):
        assert part in told, "once for both arms"
    assert not (tmp_path / "runs").exists()


def test_an_arm_that_changes_nothing_is_refused_before_any_training(tmp_path: Path) -> None:
    tiny_experiment(tmp_path)
    grid, runs = tmp_path / "grid.yaml", tmp_path / "runs"
    grid.write_text("base: tiny\narms: [{recipe: g3}, {recipe: g3, label: again}]\n", encoding="utf-8")
    for options in (["--dry-run"], []):
        code, text = invoke("grid", str(grid), "--runs", str(runs), *options)
        assert code == 2, text
        assert "again: has the settings of g3" in text
        assert "expect_same: true" in text
    assert not list(runs.rglob("train"))


def test_options_count_in_a_dry_run_and_in_the_command_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_experiment(tmp_path)
    grid, runs = tmp_path / "grid.yaml", tmp_path / "runs"
    grid.write_text("base: tiny\narms: [{recipe: g3}]\n", encoding="utf-8")
    write_identity(runs / "grid" / "g3", Identity.of(load_grid(grid).arms[0].config))
    (runs / "grid" / "g3" / "seed0" / "train" / "model").mkdir(parents=True)
    asked = ["grid", str(grid), "training.steps=2", "--replace", "--efficiency", "--runs", str(runs)]
    monkeypatch.setattr(cost_estimate, "estimate", lambda jobs: [Cost() for _ in jobs])
    code, text = invoke(*asked, "--dry-run")
    assert code == 0, text
    for part in ("training.steps=4", "training.steps=2", "replace them in g3", "--efficiency: of 1 runs"):
        assert part in text
    heard: dict[str, object] = {}

    def hear(*given: object, **named: object) -> GridResult:
        heard.update(named)
        return GridResult(runs / "grid", runs / "grid", (), None, {})

    monkeypatch.setattr(grid_run, "run_grid", hear)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/fp-lab", *asked])
    assert invoke(*asked)[0] == 0
    assert heard["command"] == " ".join(["fp-lab", *asked])


@pytest.mark.parametrize(
    ("asked", "trains"),
    [
        (["pretrain", "pretrain/base", "steps=3", "--runs", "more runs"], "pretrain.pretrain_base"),
        (["codec", "train", "pretrain/codec", "crops.real=0", "--to", "a codec"], "train_codec.train_codec"),
    ],
)
def test_the_command_of_a_shipped_model_is_kept_as_it_was_typed(
    asked: list[str], trains: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def hear(*given: object) -> None:
        heard.append(str(given[3]))
        raise ValueError("enough")

    monkeypatch.setattr(f"fp_lab.lab.training.{trains}", hear)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/fp-lab", *asked])
    assert invoke(*asked) == (2, "enough\n")
    assert heard == [shlex.join(["fp-lab", *asked])]


def test_all_grids_of_a_folder_are_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_experiment(tmp_path)
    folder, runs = tmp_path / "both", tmp_path / "runs"
    folder.mkdir()
    for name in ("second", "first"):
        text = f"base: {tmp_path}/tiny\nname: of_{name}\narms: [{{recipe: g3}}]\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    ran: list[tuple[str, int]] = []

    def hear(grid: Grid, *given: object, **named: object) -> GridResult:
        ran.append((grid.name, grid.arms[0].config.training.steps))
        return GridResult(runs / grid.name, runs / grid.name, (), None, {f"arm of {grid.name}": "lost"})

    monkeypatch.setattr(grid_run, "run_grid", hear)
    code, text = invoke("grid", str(folder), "training.steps=2", "--runs", str(runs))
    assert ran == [("of_first", 2), ("of_second", 2)]
    assert code == 1, "the failure of one does not keep the others from being run"
    assert "2 of 2 arms failed" in text
    code, text = invoke("grid", str(folder), "name=one", "--runs", str(runs))
    assert (code, len(ran)) == (2, 2)
    assert "2 grids" in text
    (tmp_path / "none").mkdir()
    assert "no grid file in the folder" in invoke("grid", str(tmp_path / "none"))[1]
    (folder.with_suffix(".yaml")).write_text((folder / "first.yaml").read_text(), encoding="utf-8")
    assert find_grids(folder) == (folder.with_suffix(".yaml"),), "a file comes before a folder of its name"


@pytest.mark.parametrize(
    ("name", "fault"), [("", "grid: got .*empty"), ("~nobody-there/x", "^~nobody-there/x: ")]
)
def test_a_grid_that_is_no_path_is_refused(name: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        find_grids(name)


def test_a_video_comes_out_of_a_trained_run(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    folder, out = tmp_path / "arm", tmp_path / "video.mp4"
    run(folder, config, Materials(tmp_path / "cache", Reporter()), Reporter(), stages=("train",))
    command = ("generate", "--checkpoint", str(folder), "--seed", "3", "--frames", "8", "--out", str(out))
    code, text = invoke(*command)
    assert code == 0, text
    assert f"{out}: a" in text, "with its caption"
    assert "8 latent frames, 1 of them given, are not whole sections of 3" in text
    assert "7 latent frames or 10" in text
    video = probe(out)
    assert (video.frames, video.width, video.height) == (8, 32, 32)
    first = out.read_bytes()
    invoke(*command)
    assert out.read_bytes() == first

    text_alone = ("--prompt", "a ball", "--seconds", "0.5", "--seed", "1", "--seed", "2")
    code, text = invoke("generate", "--checkpoint", str(folder), *text_alone, "--out", str(out))
    assert code == 0, text
    assert "text to video, which this model was not trained for" in " ".join(text.split())
    made = [tmp_path / f"video-{seed}.mp4" for seed in (1, 2)]
    assert [probe(file).frames for file in made] == [9, 9]
    assert text.count("(9 frames, 0.562 s, in 3 sections of 3 latent frames)") == 2, "0.5 s are 2.67 sections"
    assert "not whole" not in text
    assert made[0].read_bytes() != made[1].read_bytes()

    model = ("--checkpoint", str(folder / "train" / "model"), "--recipe", "td_f2k4f1k1_g3")
    code, text = invoke("generate", *model, f"codec.source={tmp_path}/codec")
    assert code == 2
    assert "needs projections for" in text


def test_worlds_are_rendered_with_their_captions(tmp_path: Path) -> None:
    code, text = invoke(
        "data", "render", "--videos", "2", "--frames", "4", "--size", "32", "--to", str(tmp_path)
    )
    assert code == 0, text
    assert probe(tmp_path / "plain-000001.mp4").frames == 4
    assert (tmp_path / "plain-000001.txt").read_text().strip() in text


def test_walks_are_filmed_with_their_captions_and_poses(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom", reason="the extra vizdoom is not installed")
    command = ("data", "make", "vizdoom", "--videos", "2", "--frames", "4", "--to", str(tmp_path))
    code, text = invoke(*command, "--size", "120x160")
    assert code == 0, text
    for seed in (0, 1):
        path = tmp_path / f"walk-00000{seed}.mp4"
        assert probe(path).frames == 4
        assert f"{path}: {path.with_suffix('.txt').read_text().strip()}" in text
        assert path.with_suffix(".json").is_file()
    code, text = invoke(*command, "--size", "240x320")
    assert code == 2
    assert "size 120x160, not 240x320" in text


def test_a_baseline_is_explained_under_both_protocols() -> None:
    assert "f30k1_g3" in invoke("explain", "causal_attention")[1]
    assert "f8k1_g3" in invoke("explain", "causal_attention", "--protocol", "equal_tokens")[1]


def test_videos_are_evaluated_and_what_failed_is_in_the_exit_status(tmp_path: Path) -> None:
    for seed in range(2):
        bad_videos.write(tmp_path / f"{seed}.mkv", bad_videos.moving(8, seed=seed))
    options = ["--family", "plain", "--metrics", "clarity,dynamic", "--workers", "1"]
    code, text = invoke("evaluate", str(tmp_path), *options, "--mlflow", str(tmp_path / "runs"))
    assert code == 0, text
    assert all(part in text for part in ("2 videos, family plain", "clarity ↑", "drift mean |d|", "±"))
    out = tmp_path / "scores"
    names = {path.name for path in out.iterdir() if path.is_file()}
    assert names == {
        *("summary.json", "frames.parquet", "videos.parquet", "scores.csv"),
        *("vbench.json", "index.html", "curves.png", "curves.svg"),
    }
    assert (tmp_path / "runs" / "mlflow.db").is_file()
    (tmp_path / "broken.mp4").write_text("no video")
    against = ["--against", str(out), "--out", str(tmp_path / "again")]
    code, text = invoke("evaluate", str(tmp_path), *options, *against)
    assert code == 1
    assert "1 of 3 files could not be scored" in text
    assert "Difference to the other results, 2 pairs" in text
    code, text = invoke(
        "evaluate", str(tmp_path), "--family", "plain", "--against", str(out / "summary.json")
    )
    assert code == 2
    assert "different protocols" in text


def test_weights_that_are_missing_are_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    bad_videos.write(tmp_path / "a.mkv", bad_videos.moving(8))
    code, text = invoke("evaluate", str(tmp_path), "--metrics", "clarity")
    assert code == 2
    assert "2 weights are missing" in text
    assert "fp-lab weights get niqe-parameters brisque-svm" in text
    assert "--family plain" in text
