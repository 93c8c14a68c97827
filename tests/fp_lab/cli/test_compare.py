"""``fp-lab compare``: formats on standard output, and no torch on the way."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fake_runs import CONTROL, INVERTED, VANILLA
from fp_lab.cli import app
from made_up_scores import Figures, made_up_grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = {VANILLA: Figures(0.9, -0.3), INVERTED: Figures(0.8), CONTROL: Figures(0.3)}
    return made_up_grid(tmp_path_factory.mktemp("runs") / "table1", arms)


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("latex", r"\begin{table}"),
        ("csv", "arm,label,order"),
        ("html", "<!doctype html>"),
        ("md", "k1 on 2x2 latents"),
    ],
)
def test_a_format_is_all_that_is_printed(form: str, first: str, grid: Path) -> None:
    done = CliRunner().invoke(app, ["compare", str(grid), "--format", form])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(first)
    assert VANILLA.replace("_", r"\_" if form == "latex" else "_") in done.stdout


def test_comparing_loads_no_torch_with_or_without_an_index(grid: Path) -> None:
    """Importing it takes longer than comparing a thousand runs."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('loaded:', *[m for m in ('torch', 'omegaconf', 'mlflow', 'matplotlib')"
        " if m in sys.modules]))\n"
        f"sys.argv[1:] = ['compare', {str(grid)!r}]\n"
        "from fp_lab.cli import app\napp()\n"
    )
    (grid / "index.parquet").unlink(missing_ok=True)
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "loaded:"
        assert (grid / "index.parquet").is_file()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--against", "nobody"], "expected one of the arms"),
        (["--paper", "table7"], "expected one of table1"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(
    option: list[str], message: str, grid: Path
) -> None:
    done = CliRunner().invoke(app, ["compare", str(grid), *option])
    assert done.exit_code == 2
    assert message in done.output


def test_a_damaged_run_is_told_of_and_in_the_exit_status(grid: Path, tmp_path: Path) -> None:
    shutil.copytree(grid, own := tmp_path / "grid")
    (own / VANILLA / "seed0" / "scores" / "summary.json").write_text("{")
    done = CliRunner().invoke(app, ["compare", str(own), "--format", "csv"])
    assert done.exit_code == 1, done.output
    assert "seed0/scores/summary.json: is damaged" in done.stderr
    assert done.stdout.startswith("arm,label,order")
    done = CliRunner().invoke(app, ["claims", str(own), "--only", "M3"])
    assert done.exit_code == 1, done.output
    assert "Left out: " in done.stdout


def test_out_writes_every_format(grid: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["compare", str(grid), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {*(f"table.{s}" for s in ("md", "tex", "csv", "html", "txt")), "verdict.json"}
