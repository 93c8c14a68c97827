"""The commands that README, documents, examples and help texts show, run as they stand there.

Commands that need a minute, a network, a cluster, a card or files of the reader's own are parsed alone
(`test_documents.py`) and stand in `PARSED`, with the reason.
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

PARSED = {
    r"grid (?!.*--dry-run)": "trains and scores whole grids: minutes to days; test_grid.py runs tiny ones",
    r"grid (vizdoom|real\.yaml|my_wan\.yaml) --dry-run": "clips or a transformer of the reader's own",
    r"(train|pretrain|codec train|probe train)\b": "trains; so do test_run.py and test_pretrain.py",
    r"efficiency": "measures arms in turn; test_efficiency.py does so with tiny ones",
    r"evaluate": "the default families' weights are a download; test_score_folders.py runs it on tiny videos",
    r"(generate|encode)": "a model of the reader's own; test_generate.py and test_encode.py run tiny ones",
    r"data (get|make)": "a network, or a game that is installed apart",
    r"weights (get|where)": "weights that a network has brought",
    r"track": "runs with checkpoints that are tracked; test_afterwards.py reads some",
    r"claims( runs/drift| runs/table1 runs/table2 --out claims/)?$": "plans the 13B model: half a minute",
    r"plan (hunyuan|wan|base)": "counts the operations of whole transformers; so does test_plan.py",
    r"explain --page": "draws all pictures of a long page; test_pictures.py draws some",
}
ARMS = ("g9", "td_f16k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td")
COMMANDS = sorted({words[1:] for _, words, complete in SHOWN if complete and words[0] == "fp-lab"})


def reason(words: tuple[str, ...]) -> str | None:
    """Why a command is parsed alone; None where it is run."""
    return next((why for kind, why in PARSED.items() if re.match(kind, shlex.join(words))), None)


RUN = [words for words in COMMANDS if reason(words) is None]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up results under the names that the documents use."""
    folder = tmp_path_factory.mktemp("scratch")
    whole = made_up_grid(folder / "runs" / "table1", dict.fromkeys(ARMS, Figures(0.5)), videos=4)
    for name in ("demo_drift", "mine", "drift", "memory"):
        shutil.copytree(whole, folder / "runs" / name)
    more = made_up_grid(folder / "runs" / "more", {"td_f1k1_g9": Figures(0.5)}, videos=4)
    shutil.copytree(more, folder / "runs" / "other")
    store_results(gather([whole]), folder / "docs" / "results" / "table1.parquet")
    (folder / "mine.yaml").write_text("name: mine\nbase: base\narms: [{recipe: g9}]\n")
    return folder


@pytest.mark.parametrize("words", RUN, ids=shlex.join)
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


def test_every_command_is_run_or_has_a_reason_and_every_reason_a_command() -> None:
    assert len(RUN) > 20
    for kind in PARSED:
        assert any(re.match(kind, shlex.join(words)) for words in COMMANDS), kind
