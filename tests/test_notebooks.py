"""The notebooks run from start to end and show what they promise; what is stored is small and clean."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from fp_lab.lab.compare.comparison import compare_runs

FOLDER = Path(__file__).parents[1] / "notebooks"
STORED = sorted(FOLDER.glob("*.ipynb"))
ELSEWHERE = re.compile(r"(?<![\w.])/(?:home|root|tmp|Users|work|private|var|opt|mnt)/|[A-Z]:\\")
LARGEST = 400_000  # bytes
VANILLA, INVERTED, MINE = "td_f8k8f4k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f4k4f8k8_td", "td_f12k4f4k2f6k1_g9"
ARMS = (VANILLA, INVERTED, "g9")
SMALL = {
    "quickstart": ('load_grid("quickstart", [])', 'load_grid("quickstart", ["data.world.size=32"])'),
    "make_your_own_variant": ("SETTINGS = {", 'SETTINGS = {"data.world.size": 32,'),
}
"""Where a notebook says what its videos are, and what it says here: a quarter of the tokens."""

Execute = Callable[[str], NotebookNode]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def execute(runs: Path) -> Execute:
    """Run a notebook once, in a kernel of this Python; a cell that fails raises."""
    done: dict[str, NotebookNode] = {}

    def execute(name: str) -> NotebookNode:
        if name not in done:
            notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
            if name in SMALL:
                (cell,) = (cell for cell in notebook.cells if SMALL[name][0] in cell.source)
                cell.source = cell.source.replace(*SMALL[name])
            client = NotebookClient(notebook, kernel_name="python3", timeout=600)
            client.execute(cwd=str(runs), env={**os.environ, "FP_LAB_NOTEBOOK_RUNS": str(runs / "runs")})
            done[name] = notebook
        return done[name]

    return execute


def texts(notebook: NotebookNode, kind: str = "text/plain") -> list[str]:
    """Outputs of one kind in order; ``stdout`` and ``stderr`` are kinds too."""
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    if kind in ("stdout", "stderr"):
        return [out.text for out in outputs if out.output_type == "stream" and out.name == kind]
    return [out.data[kind] for out in outputs if kind in out.get("data", {})]


def frame(notebook: NotebookNode, *columns: str) -> list[str]:
    """The lines of the one data frame whose header names these columns."""
    found = [
        html for html in texts(notebook, "text/html") if all(f"<th>{name}</th>" in html for name in columns)
    ]
    assert len(found) == 1, columns
    return re.findall(r"<tr>(.*?)</tr>", found[0].partition("<tbody>")[2], re.DOTALL)


def names(notebook: NotebookNode) -> set[str]:
    """Titles of tables, and headers of columns and rows of data frames, captions among them."""
    titles = {text.splitlines()[0] for text in texts(notebook, "text/markdown")}
    headers = {name for html in texts(notebook, "text/html") for name in re.findall(r"<th>(.+?)</th>", html)}
    return titles | headers - {f"{MINE} seed 0"}  # MLflow shows it to the notebooks that run after its own


def test_the_quickstart_explains_runs_and_judges_a_small_grid(execute: Execute, runs: Path) -> None:
    notebook = execute("quickstart")
    said = "".join(texts(notebook, "stdout"))
    # 30 x 52 tokens of one frame at (1,2,2), 15 x 26 at (2,4,4), 8 x 13 at (4,8,8), 4 x 7 at (8,16,16)
    assert f"at most {30 * 52 + 15 * 26 + 8 * 13 + 4 * 7:,} tokens" in said
    assert "The control without history (g9)" in said
    (drift,) = texts(notebook, "text/markdown")
    assert drift.startswith("### Drift, against the synthetic world's exact truth (family world)")
    assert all(f"| `{arm}` " in drift.replace(" (control)", "") for arm in ARMS)
    assert "*ground truth*" in drift
    assert len(texts(notebook, "image/png")) == 4  # two structures, a strip, bars
    assert (runs / "runs" / "quickstart" / "report" / "index.html").is_file()


def test_a_grid_is_read_from_tables_to_rows_to_mlflow(execute: Execute, runs: Path) -> None:
    notebook = execute("reading_a_grid")
    assert len(frame(notebook, "label", "context tokens")) == len(ARMS)
    assert len(frame(notebook, "prompt", "value", "exposure_gap")) == 8
    assert len(frame(notebook, "first - second", "p", "adjusted")) == 7  # one pair of arms, seven scores
    needed = [re.findall(r"<td>(.*?)</td>", line)[1] for line in frame(notebook, "smallest detectable")]
    assert len(needed) == 7
    assert all(float(value) > 0 for value in needed)
    titles = [text.partition(", against")[0] for text in texts(notebook, "text/markdown")]
    assert [title.splitlines()[0] for title in titles] == [
        "### Drift",
        "### Scores",
        "### Context and cost, as recorded during the runs",
        "### Exposure bias",
    ]
    assert len(texts(notebook, "image/png")) == 3

    table = compare_runs([runs / "runs" / "quickstart"]).table("score-world")
    clarity = {line.name: line.cells[0].value for line in table.lines}
    in_mlflow = frame(notebook, *(f"{arm} seed 0" for arm in ARMS))
    header = re.findall(
        r"<th>(\S+) seed 0</th>", next(h for h in texts(notebook, "text/html") if "seed 0</th>" in h)
    )
    (row,) = (line for line in in_mlflow if "<th>world/clarity</th>" in line)
    shown = [float(value) for value in re.findall(r"<td>(.*?)</td>", row)]
    assert shown == pytest.approx([clarity[arm] for arm in header], abs=6e-4)


def test_checkpoints_are_scored_against_the_step(execute: Execute, runs: Path) -> None:
    notebook = execute("drift_across_checkpoints")
    (table,) = texts(notebook, "text/markdown")
    steps = [6, 12, 18]
    assert [int(step) for step in re.findall(r"step (\d+) ↓", table)] == steps
    assert table.count("**") == 2  # one best step
    assert "best at step" in "".join(texts(notebook, "stdout"))
    assert len(texts(notebook, "image/png")) == 3  # scores, drift, losses
    assert len(frame(notebook, "first", "second")) == 8
    tracked = pd.read_parquet(runs / "runs" / "quickstart" / VANILLA / "seed0" / "tracked.parquet")
    assert sorted(set(tracked["step"])) == steps


def test_a_variant_is_trained_sampled_and_compared(execute: Execute) -> None:
    notebook = execute("make_your_own_variant")
    assert f"'{MINE}'" in texts(notebook)
    # six frames at (1,2,2), 4 at (2,4,4), 12 at (4,8,8)
    assert f"<td>{6 * 30 * 52 + 2 * 15 * 26 + 3 * 8 * 13}</td>" in frame(notebook, "limit", "by kernel")[0]
    assert re.search(
        r"^loss \d+\.\d+ on latents of \(4, 4, 64, 8, 8\)$", "".join(texts(notebook, "stdout")), re.M
    )
    drift, scores = texts(notebook, "text/markdown")
    for arm in (MINE, *ARMS):
        assert f"`{arm}`" in drift
        assert f"`{arm}`" in scores
    assert len(texts(notebook, "image/png")) == 2


@pytest.mark.parametrize("name", [path.stem for path in STORED])
def test_no_cell_warns(execute: Execute, name: str) -> None:
    assert not texts(execute(name), "stderr")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_what_is_stored_names_what_the_lab_of_now_names(execute: Execute, path: Path) -> None:
    assert names(nbformat.read(path, as_version=4)) == names(execute(path.stem))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_what_is_stored_was_run_from_start_to_end_and_tells_no_place(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not texts(notebook, "stderr")
    words = ("stdout", "text/plain", "text/html", "text/markdown")
    for text in (text for kind in words for text in texts(notebook, kind)):
        assert not ELSEWHERE.search(text)
        assert socket.gethostname() not in text
