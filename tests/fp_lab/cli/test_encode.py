"""``fp-lab encode`` from the command line."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bad_videos
from fp_data.read_video import write_mp4
from fp_lab.cli import app
from fp_lab.lab.tiny_pipelines import build_tiny


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["encode", *arguments], catch_exceptions=False)
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("wan", tmp_path_factory.mktemp("tiny") / "wan")


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    write_mp4(tmp_path / "videos" / "a.mp4", bad_videos.moving(11, 40, 56), fps=8)
    (tmp_path / "videos" / "b.mp4").write_bytes(b"noise")
    return tmp_path / "videos"


def test_a_cache_is_made_told_of_and_checked(videos: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = ["--frames", "5", "--area", "32x48", "--unit", "16", "--per-shard", "1", "--device", "cpu"]
    code, text = invoke(str(videos), str(out), "--model", str(model), *small)
    assert code == 0, text
    assert "skipped b.mp4: cannot be " in text
    assert re.search(r"\b2 clips of 5 frames of 32x48, latents 16x2x4x6", text)
    assert re.search(r"mean -?\d+\.\d\d \(-?\d+\.\d\d to -?\d+\.\d\d over channels\), deviation \d", text)
    assert re.search(r"2 clips in 2 shards, .* \(2 encoded now, .* s each; skipped: 1 of 2 videos", text)
    assert "Loading weights" not in text
    assert "--frames 5: clips of 2 latent frames (5 of video)" in text
    assert "whole are 10 latent frames (37 of video)" in text
    again = invoke(str(videos), str(out), "--model", str(model), *small)
    assert again[0] == 0
    assert "(0 encoded now;" in again[1]
    code, text = invoke(str(videos), str(out), "--check")
    assert (code, "is whole: 2 clips in 2 shards" in text) == (0, True)
    assert "--frames 5: clips of 2 latent frames (5 of video)" in text
    shard = out / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    code, text = invoke(str(videos), str(out), "--check")
    assert code == 1
    assert text.startswith("shard-00001.safetensors: is damaged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --model"),
        (["--model", "nowhere", "--area", "480"], "expected height x width"),
        (["--model", "nowhere"], "nowhere"),
        (["--check"], "no latent cache in"),
    ],
)
def test_mistakes_cost_a_line_and_exit_code_2(
    videos: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, text = invoke(str(videos), str(tmp_path / "out"), *arguments)
    assert code == 2, text
    assert message in text
    assert "Traceback" not in text
