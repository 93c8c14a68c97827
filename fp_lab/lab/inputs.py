"""Which video files are scored, and what each one is said to show."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fp_data.clips import EXTENSIONS, caption


@dataclass(frozen=True)
class VideoFile:
    """One file to score.

    Attributes:
        path: where it is.
        name: by which it is shown, unique.
        group: the path that was asked for, in short: files of one group are averaged.
        prompt: what it shows; empty where nobody says.
        fault: why it cannot be scored, as far as that is known beforehand; else empty.
    """

    path: Path
    name: str
    group: str
    prompt: str
    fault: str = ""


def find_videos(paths: Sequence[Path], prompts: Path | None = None) -> tuple[VideoFile, ...]:
    """Every video file of some folders (searched recursively), and single files.

    Args:
        paths: folders and files. A file that is named is taken whatever its ending is.
        prompts: see `read_prompts`; else a file's prompt is the text beside it (same name, .txt).

    Raises:
        ValueError: nothing there, no video, or prompts that name none of them.
    """
    known = None if prompts is None else read_prompts(prompts)
    groups = _group_names(paths)
    found: dict[Path, VideoFile] = {}
    for path, group in zip(paths, groups, strict=True):
        root = path if path.is_dir() else path.parent
        for file in _files(path):
            inner = file.relative_to(root).as_posix()
            name = inner if len(paths) == 1 or path.is_file() else f"{group}/{inner}"
            prompt, fault = _beside(file) if known is None else (_lookup(known, file, inner), "")
            found.setdefault(file.resolve(), VideoFile(file, name, group, prompt, fault))
    files = _distinct(list(found.values()))
    if known and not any(file.prompt for file in files):
        raise ValueError(
            f"{prompts}: names none of these videos; expected file names such as {files[0].path.name}, "
            f"got {', '.join(list(known)[:3])}"
        )
    return tuple(files)


def read_prompts(path: Path) -> dict[str, str]:
    """Prompts by file name: ``.json`` (an object), ``.csv`` (file, prompt), else lines ``name<TAB>prompt``.

    Raises:
        ValueError: the file is not there or is none of these.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no prompts can be read: {error}") from error
    if path.suffix.lower() == ".json":
        return _from_json(path, text)
    if path.suffix.lower() == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        if rows and not {"file", "prompt"} <= rows[0].keys():
            raise ValueError(f"{path}: got the columns {', '.join(rows[0])}, expected file and prompt")
        return {row["file"]: row["prompt"] for row in rows}
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, tab, prompt = line.partition("\t")
        if not tab:
            raise ValueError(f"{path}: line {number} has no tab; expected a file name, a tab, the prompt")
        found[name.strip()] = prompt.strip()
    return found


def _from_json(path: Path, text: str) -> dict[str, str]:
    try:
        known = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is no JSON: {error}") from error
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise ValueError(f"{path}: expected an object of file names and prompts")
    return known


def _lookup(known: Mapping[str, str], file: Path, inner: str) -> str:
    return next((known[key] for key in (inner, file.name, file.stem) if key in known), "")


def _beside(file: Path) -> tuple[str, str]:
    """The prompt that is written beside a file, and why that cannot be read."""
    try:
        return caption(file), ""
    except ValueError as error:
        return "", str(error)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"no folder or file {path}")
    files = sorted(
        f for f in path.rglob("*") if f.suffix.lower() in EXTENSIONS and not f.name.startswith(".")
    )
    if not files:
        raise ValueError(f"no video file in {path}; looked for {', '.join(sorted(EXTENSIONS))}")
    return files


def _group_names(paths: Sequence[Path]) -> list[str]:
    """Short names, unless two are the same. Files of one folder are one group."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    short = {folder: folder.resolve().name for folder in folders}
    clash = len(set(short.values())) < len({folder.resolve() for folder in folders})
    return [folder.as_posix() if clash else short[folder] for folder in folders]


def _distinct(files: list[VideoFile]) -> list[VideoFile]:
    """Single files of several folders may have one name: then they are shown with their folder."""
    names = [file.name for file in files]
    return [
        replace(file, name=file.path.as_posix()) if names.count(file.name) > 1 else file for file in files
    ]
