"""What is told through a journal is heard as it was told, whatever happens to the file in between."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from fp_lab.lab.grids.engines import journal as journal_module
from fp_lab.lab.grids.engines.journal import JOURNAL_FILE, Journal, JournalReader
from fp_lab.lab.runtime.reporter import Reporter, Step


class Notes(Reporter):
    """Writes down all that it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def started(self) -> None:
        self.heard.append("started")

    def begin(self, stage: str, total: int) -> None:
        self.heard.append((stage, total))

    def advance(self, done: int, note: str = "") -> None:
        self.heard.append((done, note))

    def trained(self, step: Step) -> None:
        self.heard.append(step)

    def machine(self, figures: Mapping[str, float]) -> None:
        self.heard.append(dict(figures))

    def say(self, line: str) -> None:
        self.heard.append(line)


def tell(reporter: Reporter) -> None:
    reporter.started()
    reporter.begin("train", 3)
    for number in (1, 2, 3):
        reporter.trained(Step(number, loss=0.1 * number, learning_rate=1e-3, seconds=0.5))
        reporter.advance(number, "loss")
    reporter.machine({"cpu": 50.0})
    reporter.say("a line\nof two")


def test_all_is_heard_in_order_and_steps_are_never_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_WRITE_EVERY", 0)
    direct, through = Notes(), Notes()
    tell(direct)
    reader = JournalReader(tmp_path, through)
    reader.play()
    assert through.heard == [], "there is no journal yet"
    with Journal(tmp_path) as journal:
        tell(journal)
        reader.play()
    reader.play()
    assert [repr(item) for item in through.heard] == [repr(item) for item in direct.heard]


def test_much_that_is_told_at_once_is_written_now_and_then(tmp_path: Path) -> None:
    notes = Notes()
    reader = JournalReader(tmp_path, notes)
    with Journal(tmp_path) as journal:
        journal.begin("train", 1000)
        for number in range(1, 1001):
            journal.trained(Step(number, 1.0, 1.0, 1.0))
            journal.advance(number)
    reader.play()
    assert [step.step for step in notes.heard if isinstance(step, Step)] == list(range(1, 1001))
    assert notes.heard[-1] == (1000, "")
    assert len([item for item in notes.heard if isinstance(item, tuple)]) < 20


def test_half_a_line_waits_and_a_journal_that_begins_anew_is_read_from_its_start(tmp_path: Path) -> None:
    notes = Notes()
    reader = JournalReader(tmp_path, notes)
    path = tmp_path / JOURNAL_FILE
    path.write_text("a name\n" + json.dumps(["say", ["one"]]) + '\n["say", ["tw')
    reader.play()
    assert notes.heard == ["one"]
    with path.open("a") as file:
        file.write('o"]]\n')
    reader.play()
    assert notes.heard == ["one", "two"]
    with Journal(tmp_path) as journal:
        journal.say("a longer line than all of the others together, " * 3)
    reader.play()
    assert len(notes.heard) == 3


def test_what_an_earlier_worker_has_left_is_not_heard(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.say("old")
    notes = Notes()
    JournalReader(tmp_path, notes).play()
    assert notes.heard == []
