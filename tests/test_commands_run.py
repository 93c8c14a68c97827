"""The commands that README, documents, examples and help texts show, run as they stand there.

Those that make something work on tiny inputs (`tiny_commands.py`). Commands that need a network, a cluster, a
card or minutes all the same are parsed alone (`test_documents.py`) and stand in `PARSED`, with the reason.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fp_lab.cli import app
from fp_lab.lab.compare.results_file import store_results
from fp_lab.lab.config import load
from fp_lab.lab.dry_run import timings
from fp_lab.lab.results.gather import gather
from made_up_scores import Figures, made_up_grid
from test_documents import SHOWN
from tiny_commands import make_small, prepare, tiny_inputs

PARSED = {
    r"grid .*--engine": "a cluster; test_engines.py has stand-ins of it",
    r"grid (vizdoom|real\.yaml|my_wan\.yaml)": "clips of a game, or a transformer of the reader's own",
    r"train .*(nodes|data\.cache)=": "several machines, or a cache of the reader's own",
    r"track runs/demo_drift": "checkpoints of an earlier command; test_afterwards.py scores and shows some",
    r"efficiency": "measures arms in turn; test_efficiency.py does so with tiny ones",
    r"data (get|make)": "a network, or a game that is installed apart",
    r"weights (get|where)": "weights that a network has brought",
    r"claims( runs/drift| runs/table1 runs/table2 --out claims/)?$": "plans the 13B model: half a minute",
    r"plan (hunyuan|wan|base)": "counts the operations of whole transformers; so does test_plan.py",
    r"explain --page": "draws all pictures of a long page; test_pictures.py draws some",
}
WORK = r"(grid (?!.*--dry-run)|train|pretrain|codec|probe|track|evaluate|encode|generate)\b"
"""Commands that make something: done in a folder of their own, with little to do (`tiny_commands`)."""
ARMS = ("g9", "td_f16k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td")
COMMANDS = sorted({words[1:] for _, words, complete in SHOWN if complete and words[0] == "fp-lab"})


def reason(words: tuple[str, ...]) -> str | None:
    """Why a command is parsed alone; None where it is run."""
    return next((why for kind, why in PARSED.items() if re.match(kind, shlex.join(words))), None)


RUN = [words for words in COMMANDS if reason(words) is None]
WORKING = [words for words in RUN if re.match(WORK, shlex.join(words))]
READING = [words for words in RUN if words not in WORKING]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up results under the names that the documents use."""
    folder = tmp_path_factory.mktemp("scratch")
    whole = made_up_grid(folder / "runs" / "table1", dict.fromkeys(ARMS, Figures(0.5)), videos=4)
    for name in ("demo_drift", "mine", "drift", "memory"):
        shutil.copytree(whole, folder / "runs" / name)
    more = made_up_grid(folder / "runs" / "more", {"td_f1k1_g9": Figures(0.5)}, videos=4)
    shutil.copytree(more, folder / "runs" / "other")
    for stored in (folder / "docs" / "results" / "table1.parquet", folder / "memory.parquet"):
        store_results(gather([whole]), stored)
    (folder / "mine.yaml").write_text("name: mine\nbase: base\narms: [{recipe: g9}]\n")
    return folder


@pytest.mark.parametrize("words", READING, ids=shlex.join)
def test_a_command_that_is_shown_ends_well(
    words: tuple[str, ...], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scratch)
    monkeypatch.setattr(timings, "timed_step", lambda config: 0.5)
    monkeypatch.setattr(timings, "seconds_per_frame", lambda config, frames: 0.1)
    monkeypatch.setenv("FP_LAB_CACHE", str(scratch / "cache"))
    steps = load(scratch / "runs" / "mine" / "g9" / "seed0" / "config.yaml").training.steps
    asked = [re.sub(r"^training\.steps=\d+$", f"training.steps={steps}", word) for word in words]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny inputs under the names that the documents use."""
    return tiny_inputs(tmp_path_factory.mktemp("work"))


@pytest.mark.parametrize("words", WORKING, ids=shlex.join)
def test_a_command_that_makes_something_does_so(
    words: tuple[str, ...], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    monkeypatch.setenv("FP_LAB_CACHE", str(work / "cache"))
    make_small(monkeypatch, work)
    prepare(words, work)
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_every_command_is_run_or_has_a_reason_and_every_reason_a_command() -> None:
    assert len(RUN) > 85
    for kind in PARSED:
        assert any(re.match(kind, shlex.join(words)) for words in COMMANDS), kind
