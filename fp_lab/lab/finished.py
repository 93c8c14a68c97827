"""Finding out that nothing is left to do, without importing torch (standard library only).

When a grid is complete, a record of every file behind it is written: experiment files, weights, clips, the
source code, the marks of its stages, the report. While all of them are unchanged, so is the result.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fp_lab.lab.atomic import write_text
from fp_lab.lab.stages import digest

_PACKAGES = ("fp_lab", "fp_data", "fp_metrics")
_LARGE = 64 * 2**20  # bytes; a larger file is known by its size and time of change


@dataclass(frozen=True)
class FinishedGrid:
    """A complete grid.

    Attributes:
        folder: of the grid.
        arms: how many.
        files: every file behind it, and its state.
    """

    folder: str
    arms: int
    files: dict[str, str]


def record_path(runs: Path, name: str, overrides: Sequence[str]) -> Path:
    """Where the record of a command is: grid, overrides and folder of runs."""
    command = digest({"grid": name, "overrides": list(overrides), "cwd": str(Path.cwd())})
    return runs / "cache" / f"finished-{command[:16]}.json"


def record_finished(path: Path, folder: Path, arms: int, files: Iterable[Path]) -> None:
    """Write the record of a complete grid."""
    states = {str(file.resolve()): _state(file) for file in (*files, *source_files())}
    write_text(path, json.dumps(asdict(FinishedGrid(str(folder), arms, states)), indent=1) + "\n")


def find_finished(path: Path) -> FinishedGrid | None:
    """The record of a complete grid, if everything behind it is as it was."""
    if not path.is_file():
        return None
    record = FinishedGrid(**json.loads(path.read_text(encoding="utf-8")))
    if set(record.files) >= {str(file.resolve()) for file in source_files()} and all(
        _state(Path(file)) == state for file, state in record.files.items()
    ):
        return record
    return None


def source_files() -> list[Path]:
    """Source code of the packages, found without importing them."""
    files: list[Path] = []
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        files += sorted(Path(spec.origin).parent.rglob("*.py"))
    return files


def _state(file: Path) -> str:
    if not file.is_file():
        return "missing"
    status = file.stat()
    if status.st_size > _LARGE:
        return f"{status.st_size} bytes, {status.st_mtime_ns}"
    return hashlib.sha256(file.read_bytes()).hexdigest()
