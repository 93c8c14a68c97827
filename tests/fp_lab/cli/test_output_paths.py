"""Every place that a command writes to is looked at before the work."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperOption
from typer.testing import CliRunner

from fp_lab.cli import app

_READ_TOO = "data get"
"""Files that are there already are left alone, and may be where nobody writes."""
_BEFORE = {"encode": ("videos",), "explain": ("g9",), "data make": ("vizdoom",)}
_FILES = {("generate", "--out"), ("explain", "--picture")}


def _places(command: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Commands, with the flags of the folders and files that they write."""
    for key, inner in getattr(command, "commands", {}).items():
        yield from _places(inner, f"{name} {key}".strip())
    for option in command.params:
        written = option.name in ("out", "to", "runs", "mlflow", "picture")
        if written and isinstance(option, TyperOption) and name != _READ_TOO:
            yield name, option.opts[0]


_PLACES = list(_places(typer.main.get_command(app)))


def _refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 2
    (line,) = done.output.splitlines()
    return line


@pytest.mark.parametrize(("command", "flag"), _PLACES)
@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300, "link"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command: str, flag: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    place = tmp_path / name / ("a.png" if (command, flag) in _FILES else "")
    line = _refused(*command.split(), *_BEFORE.get(command, ()), f"{flag}={place}")
    assert line.startswith(f"{flag}: got ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(("command", "flag"), sorted(_FILES))
def test_a_pipe_is_not_replaced(command: str, flag: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    line = _refused(command, *_BEFORE.get(command, ()), f"{flag}={tmp_path / 'a.png'}")
    assert line.endswith("expected the name of a file; it is no regular file")
    assert (tmp_path / "a.png").is_fifo()


def test_all_commands_that_write_are_among_them() -> None:
    assert len(_PLACES) > 15


def test_a_cache_of_videos_is_refused_there_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in _refused("encode", "videos", str(tmp_path / "file"), "--model=nowhere")


def test_a_folder_that_takes_no_files_is_refused_whoever_asks() -> None:
    assert _refused("claims", "--out=/proc/claims").endswith("/proc: No such file or directory")
