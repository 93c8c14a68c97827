"""docs/extending.md, as someone outside would do it: its package built, installed, and run in a grid."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from fp_lab.lab.compare.comparison import compare
from fp_lab.lab.results.gather import gather

ROOT = Path(__file__).parents[1]
FILES = dict(
    re.findall(
        r"^```\w*\n# (\S+)\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text("utf-8"), re.S | re.M
    )
)
TINY = """
    data.world.size=32 data.world.frames=28 data.train_videos=4 training.steps=2 training.batch=2
    evaluation.videos=2 evaluation.frames=28 evaluation.strips=1 sampling.solver.steps=2
    model.backbone.width=32 model.backbone.depth=1
""".split()  # noqa: SIM905
PLAIN = "td_f4k2f1k1_g9"
VARIED = (
    "sampling.fill=far_first",
    "context.packer=gated",
    "context.importance.kind=contrast",
    "objective.history.source=blurred",
    "sampling.solver.name=midpoint",
    "model.base=None--model.architecture=scaled",
    "model.base=None--codec.source=average",
)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fresh environment, in which the package of the page is installed from its wheel."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    # what this environment has, without installing gigabytes again
    here = [sysconfig.get_path("purelib"), str(ROOT), str(ROOT / "metrics"), str(ROOT / "data")]
    (packages / "here.pth").write_text("\n".join(here) + "\n", encoding="utf-8")
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(folder / "env" / "bin" / "python"), "install"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    for source in ("my_lab", "pyproject.toml", "dist"):  # nothing is found beside the grid file
        (folder / source).rename(folder.with_name(f"{folder.name}-{source}"))
    return folder


def fp_lab(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [str(folder / "env" / "bin" / "python"), "-m", "fp_lab", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_of_the_page_runs_in_a_grid_with_two_workers(outside: Path) -> None:
    said = fp_lab(outside, "grid", "mine.yaml", "--workers", "2", *TINY)
    assert "done again" not in said  # plan and workers agree on the digests of plugins
    runs = outside / "runs" / "mine"
    scores = {
        name: pd.read_parquet(next((runs / name / "seed0" / "scores").glob("videos*.parquet")))
        for name in ("g9", PLAIN, *(f"{PLAIN}--{varied}" for varied in VARIED))
    }
    assert all("mine/brightness" in set(table.estimator) for table in scores.values())
    values = {name: tuple(table.value.dropna()) for name, table in scores.items()}
    assert len(set(values.values())) == len(values)  # no variant was left out without a word
    page = (runs / "report" / "index.html").read_text(encoding="utf-8")
    assert "far first · short" in page
    assert "mine" in compare(gather([runs])).gathered.families

    again = fp_lab(outside, "grid", "mine.yaml", "--workers", "2", *TINY)
    assert again.count("was done already") == len(scores)
    assert "mine/midpoint" in fp_lab(outside, "claims", "runs/mine")
    assert "solver.name=midpoint" in fp_lab(outside, "compare", "runs/mine")


def test_every_example_takes_less_than_thirty_lines() -> None:
    assert len(FILES) >= 13
    assert {name: text.count("\n") for name, text in FILES.items() if text.count("\n") >= 30} == {}


def test_a_script_samples_a_plan_of_its_own() -> None:
    names: dict[str, Any] = {}
    exec(compile(FILES["script.py"], "script.py", "exec"), names)
    video, latents = names["video"], names["latents"]
    assert torch.equal(video[:, :, :1], latents[:, :, :1])
    assert names["pixels"].isfinite().all()
    # every frame was made, and shows the scene: a copy of nothing would be off by the latents' own square
    errors = (video - latents).square().mean((0, 1, 3, 4))[1:]
    assert (errors > 0).all()
    assert errors.max() < 0.9 * latents.square().mean()
