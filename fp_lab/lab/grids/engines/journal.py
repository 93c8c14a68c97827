"""Journal of a run: reports through a file in its folder, as its worker may be another process."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from fp_lab.lab.runtime.reporter import Reporter, Step, retell

JOURNAL_FILE = "journal.jsonl"

_WRITE_EVERY = 0.5  # seconds


class Journal(Reporter):
    """Writes reports as JSON lines into a new journal in a run folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / JOURNAL_FILE).open("w", encoding="utf-8")
        self._file.write(f"{uuid4()}\n")  # by which a reader knows that it has begun anew
        self._waiting: dict[str, list[Any]] = {}
        self._written = 0.0

    def __enter__(self) -> "Journal":
        """Return the journal, whose file is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the rest and close the file."""
        self._write_waiting()
        self._file.close()

    def started(self) -> None:
        """Report the start of the arm."""
        self._write("started", [])

    def begin(self, stage: str, total: int) -> None:
        """Report the begin of a stage."""
        self._write_waiting()
        self._write("begin", [stage, total])

    def advance(self, done: int, note: str = "") -> None:
        """Report progress; only the newest one is written."""
        self._waiting["advance"] = [done, note]
        self._write_now_and_then()

    def trained(self, step: Step) -> None:
        """Report a training step."""
        self._waiting.setdefault("trained", []).append(asdict(step))
        self._write_now_and_then()

    def machine(self, figures: Mapping[str, float]) -> None:
        """Report system metrics."""
        self._write("machine", [dict(figures)])

    def say(self, line: str) -> None:
        """Report a line of text."""
        self._write("say", [line])

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self._written >= _WRITE_EVERY:
            self._write_waiting()

    def _write_waiting(self) -> None:
        for step in self._waiting.pop("trained", []):
            self._file.write(json.dumps(["trained", [step]]) + "\n")
        if newest := self._waiting.pop("advance", None):
            self._file.write(json.dumps(["advance", newest]) + "\n")
        self._file.flush()
        self._written = time.monotonic()

    def _write(self, what: str, given: list[Any]) -> None:
        self._file.write(json.dumps([what, given]) + "\n")
        self._file.flush()


class JournalReader:
    """Plays a journal to a reporter, as far as it has been written.

    Args:
        folder: folder of the run.
        reporter: receiver of the reports.
    """

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.reporter = reporter
        self._path = folder / JOURNAL_FILE
        self._path.unlink(missing_ok=True)
        self._name = b""
        self._read = 0

    def play(self) -> None:
        """Pass all complete new lines to the reporter."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            name = file.readline()
            if name != self._name:  # the first worker, or another after it was lost
                self._name, self._read = name, len(name)
            file.seek(self._read)
            new = file.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.splitlines():
            try:
                told = json.loads(line)  # with NaN: figures of a step that it does not have
            except (ValueError, RecursionError):  # bytes that a machine's end has spoilt
                continue
            retell(self.reporter, *told)
