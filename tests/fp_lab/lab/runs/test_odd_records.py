"""Records that are JSON or YAML, but none of the lab: the file is named, nothing else breaks."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fixtures import tiny_base, tiny_codec
from fp_data.damaged import parse_json
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.checkpoints.rows import write_tracked
from fp_lab.lab.compare.comparison import compare
from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.files.run_config import run_settings
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.engines.journal import JOURNAL_FILE, JournalReader
from fp_lab.lab.report.results_page import write_results
from fp_lab.lab.results.find_runs import group_by_length
from fp_lab.lab.results.gather import gather
from fp_lab.lab.runs.identity import identity_in
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.files import ScoresFolder
from fp_lab.lab.training.checkpoints import Checkpoint
from fp_lab.model import FramePackModel
from fp_lab.weights.pipelines import require_used
from made_up_scores import Figures, made_up_grid

DEEP = "[" * 100_000
ODD = (None, ["x"], "x", math.nan)


def forms_of(text: str) -> list[str]:
    """A record cut off, too deep, and with each of its parts gone or of another type."""
    told = json.loads(text)
    forms = [DEEP, '{"a":' * 100_000, text[: len(text) // 2], "", "null", "[]", "\0" * 9]
    for key, value in told.items():
        forms.append(json.dumps({name: own for name, own in told.items() if name != key}))
        forms += [json.dumps(told | {key: odd}) for odd in ODD]
        if isinstance(value, dict) and value:
            inner = next(iter(value))
            forms += [json.dumps(told | {key: value | {inner: odd}}) for odd in ODD]
    return forms


def refusals(path: Path, read: Callable[[], Any]) -> int:
    """How many forms of a file are refused; each refusal names the file, as it was written it is read."""
    text = path.read_text()
    said = []
    forms = forms_of(text)
    for form in forms:
        path.write_text(form)
        try:
            read()
        except ValueError as error:
            said.append(str(error))
    assert all(str(path) in line for line in said), said
    path.write_text(text)
    read()
    return len(said)


def test_json_without_end_is_no_recursion_error() -> None:
    for text in (DEEP, DEEP.encode()):
        with pytest.raises(ValueError, match=r"\bnested\b"):
            parse_json(text)


def test_a_summary_that_is_none_is_named_and_scored_again(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path / "grid", {"g5": Figures(0.5)}, videos=2)
    run = grid / "g5" / "seed0"
    summary = run / "scores" / "summary.json"
    refused = refusals(summary, lambda: gather([grid]))
    assert refused >= 7 + 4 * len(("frames", "height", "width", "fps", "videos"))
    figures = {"own": {}, "family": "plain", "score": "clarity"}
    told = tmp_path / "summary.json"
    told.write_text(json.dumps({"estimators": {"plain/x": figures}, "flags": {}}))
    assert refusals(told, ScoresFolder(told.parent).headline) >= 7 + 5
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"fps": "x"}))
    with pytest.raises(ValueError, match=r"summary\.json: .*damaged.*got 'x'.*\bscores\b"):
        gather([grid])


@pytest.mark.parametrize(
    ("file", "what"), [("efficiency.json", "cost"), ("train/codebook.json", "codebooks")]
)
def test_a_damaged_record_beside_the_scores_takes_no_score_with_it(
    tmp_path: Path, file: str, what: str
) -> None:
    grid = made_up_grid(tmp_path / "grid", {"g5": Figures(0.5), "g9": Figures(0.4)}, videos=2)
    for arm in ("g5", "g9"):
        (grid / arm / "seed0" / "train").mkdir()
        (grid / arm / "seed0" / "train" / "codebook.json").write_text('{"size": 16, "used": 9}')
    whole = gather([grid])
    record = grid / "g9" / "seed0" / file
    for form in ("{[", "", DEEP, "null", '{"used": "x", "frames_per_second": ["x"]}'):
        record.write_text(form)
        for _ in range(2):  # read, and from the index
            found = gather([grid])
            pd.testing.assert_frame_equal(found.videos, whole.videos)
            assert (found.damaged, found.waiting) == ({}, ())
            (line,) = found.left_out
            assert line.startswith(f"Left out of {what}, not of the scores: {record}: is damaged")
    made = compare(found)
    assert line in made.markdown
    rows = {row.name: row for row in made.table(what.removesuffix("s")).lines}
    damaged, other = (rows[arm].cells[1] for arm in ("g9", "g5"))
    assert math.isnan(damaged.value)
    assert str(record) in damaged.reason
    assert math.isfinite(other.value)
    with pytest.raises(ValueError, match="is damaged"):
        write_results(grid, tmp_path)


@pytest.mark.parametrize("file", ["config.yaml", "scores/summary.json", "scores/videos.parquet"])
def test_a_damaged_run_is_left_out_by_name_and_the_others_are_read(tmp_path: Path, file: str) -> None:
    grid = made_up_grid(tmp_path / "grid", {"g5": Figures(0.5), "g9": Figures(0.4)}, videos=2)
    whole, bad = (grid / arm / "seed0" for arm in ("g5", "g9"))
    gather([grid])
    (bad / file).write_bytes(b"{[")
    found = gather([grid], ["seed=0"])
    assert [arm.name for arm in found.arms] == ["g5"]
    assert found.waiting == ()
    assert list(found.damaged) == [bad]
    assert found.damaged[bad].startswith(f"{bad / file}: is damaged: ")
    assert f"Left out: {bad / file}: is damaged" in compare(found).markdown
    assert list(group_by_length([grid]).values()) == [[whole, bad]]
    with pytest.raises(ValueError, match=rf"/{file}: .*damaged"):
        write_results(grid, tmp_path)


def test_the_record_and_the_scores_of_a_checkpoint_that_are_none_are_named(tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "train" / "checkpoints" / "step00000003")
    place.summary.parent.mkdir(parents=True)
    place.record.write_text(json.dumps({"train_key": "key", "sha256": "0"}))
    assert refusals(place.record, lambda: (place.train_key, place.sha256)) == 7 + 2
    own = {"value": {"mean": 0.5, "reliable": True}, "drift": {"mean_absolute": {}, "signed": {}}}
    figures = {"own": own, "score": "clarity", "family": "plain", "unit": "", "higher_is_better": True}
    size = {"videos": 2, "frames": 9, "height": 8, "width": 8}
    how = {"protocol": "world", "segments": 4, "estimators": {}}
    place.summary.write_text(json.dumps(size | {"protocol": how, "estimators": {"plain/x": figures}}))
    assert refusals(place.summary, lambda: write_tracked(RunFolder(tmp_path), [place], None)) >= 7 + 6


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: " + "[" * 100_000 + "]" * 100_000, "nested"),  # the parser in C would end the process
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", r"alias \*a"),
        ("- a\n", "list, expected"),
        ("data: [a]\n", r"data: got \['a'\]"),
        ("a: [\n", "line 2"),
        ("a: \0", "control"),
    ],
)
def test_settings_of_a_run_that_are_none_are_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"config\.yaml: .*damaged.*{why}.*\bwrites\b"):
        run_settings(path)


def test_the_record_of_a_stage_that_is_none_is_its_damage(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.loss.parent.mkdir(parents=True)
    run.loss.write_text("loss")
    with run.doing("train", "key"):
        pass
    path = run.done_file("train")
    outputs = json.loads(path.read_text())["outputs"]
    for form in forms_of(path.read_text()):
        path.write_text(form)
        done = run.is_done("train", "key")
        run.restore()
        known = json.loads(form) if form.startswith("{") and form.endswith("}") else {}
        if known.get("key") != "key" or known.get("outputs", outputs) != outputs:
            assert not done, form[:200]


def test_a_folder_with_a_damaged_identity_is_known_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "arm.json"
    for form in (DEEP, "{", '{"redone": null}', '{"redone": {"seed0": []}}', '{"settings": 3}', '{"x": 1}'):
        path.write_text(form)
        assert identity_in(tmp_path) is None, form[:50]


def test_results_that_are_none_are_named(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path / "grid", {"g5": Figures(0.5)}, videos=2)
    path = grid / "g5" / "seed0" / "scores" / "summary.json"
    flags = {"own": {"frozen_share": 0.0, "videos": 1}}
    content = {"protocol": {"protocol": "given", "estimators": {}}, "estimators": {}, "flags": flags}
    content |= {"files": {"m/a.mp4": {"prompt": "", "group": "m"}}, "skipped": {}}
    path.write_text(json.dumps(content))
    refused = refusals(path, lambda: Results.load(path))
    assert refused >= 7 + 3 + 3 * 4, "no file, a part missing, protocol, flags and files of another type"


def test_configs_of_models_that_are_none_are_named(tmp_path: Path) -> None:
    for folder, load in ((tiny_codec(tmp_path / "codec"), Codec.load), (tiny_base(tmp_path / "base"),
                                                                        FramePackModel.load)):  # fmt: skip
        refused = refusals(folder / "config.json", lambda load=load, folder=folder: load(folder))  # type: ignore[misc]
        assert refused >= 7 + 3 * 4
    index = tmp_path / "model_index.json"
    index.write_text('{"_class_name": "WanPipeline"}')
    assert refusals(index, lambda: require_used(tmp_path)) >= 7


def test_a_line_of_a_journal_that_is_none_is_passed_over(tmp_path: Path) -> None:
    heard: list[str] = []

    class Listening(Reporter):
        def say(self, line: str) -> None:
            heard.append(line)

    reader = JournalReader(tmp_path, Listening())
    (tmp_path / JOURNAL_FILE).write_text(f'name\n["say", ["a"]]\n\0\0\0\n{DEEP}\n["say", ["b"]]\n')
    reader.play()
    assert heard == ["a", "b"]
