"""``fp-lab track`` from the command line."""

import re
from pathlib import Path

from typer.testing import CliRunner

from fixtures import tiny_config
from fp_lab.cli import app
from fp_lab.lab.checkpoints.during_training import train_tracked
from fp_lab.lab.config import to_yaml
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.checkpoints import checkpoints


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_drift_over_a_training_is_followed_and_failures_are_in_the_exit_status(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, ["training.steps=2", "track.every=1", "track.score=false"])
    place = RunFolder(tmp_path / "runs" / "grid" / "arm" / "seed0")
    place.path.mkdir(parents=True)
    place.config.write_text(to_yaml(config))
    train_tracked(place, config, "key", Materials(tmp_path / "cache", Reporter()), Reporter())
    code, text = invoke("track", str(place.path), "--best", "plain/aesthetic.drift")
    assert code == 0, text
    assert "2 checkpoints to score" in text
    assert re.search(r"arm seed 0: best at step [12], plain/aesthetic\.drift", text)
    assert str(tmp_path / "runs" / "grid" / "track" / "index.html") in text
    code, text = invoke("track", str(place.path), "--out", str(tmp_path / "page"))
    assert code == 0, text
    assert "All checkpoints were scored already" in text
    assert (tmp_path / "page" / "index.html").is_file()
    (checkpoints(place)[0].model / "model.safetensors").write_bytes(b"")
    checkpoints(place)[0].done_file("score").unlink()
    code, text = invoke("track", str(place.path))
    assert code == 1
    assert "1 checkpoints could not be scored" in text
    assert "step 1: ValueError" in text


def test_mistakes_cost_a_line() -> None:
    code, text = invoke("track", "nowhere")
    assert code == 2
    assert "no folder nowhere" in text
    assert "Traceback" not in text
