"""Search for the video files to score, with their prompts."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fp_data.clips import EXTENSIONS, caption, video_paths
from fp_data.open_video import fault_of
from fp_lab.lab.evaluate.prompt_files import match_prompts, read_prompts
from fp_lab.lab.files.names import shown

_NAMED = 8


@dataclass(frozen=True)
class VideoFile:
    """One file to score.

    Attributes:
        path: path of the file.
        name: unique name for tables.
        group: short name of the requested path; files of one group are averaged.
        prompt: prompt of the video; empty where unknown.
        fault: reason known beforehand why it cannot be scored; else empty.
    """

    path: Path
    name: str
    group: str
    prompt: str
    fault: str = ""


@dataclass(frozen=True)
class FoundVideos:
    """Video files to score.

    Attributes:
        files: files named as videos, unreadable ones included.
        told: remarks on the prompts.
    """

    files: tuple[VideoFile, ...]
    told: tuple[str, ...] = ()


def find_videos(paths: Sequence[Path], prompts: Path | None = None) -> FoundVideos:
    """Find the video files of folders (searched recursively), and single files.

    Args:
        paths: folders and files. A named file is taken whatever its ending.
        prompts: file of prompts, see `prompt_files.read_prompts`; by default a file's prompt is the text
            beside it (same name, .txt).

    Raises:
        ValueError: a path does not exist, there is no video, or the prompts name none of them.
    """
    found: dict[str, VideoFile] = {}
    inner: dict[Path, str] = {}
    for path, group in zip(paths, _group_names(paths), strict=True):
        root = path if is_folder(path) else path.parent
        for file, fault in _files(path).items():
            inner[file] = file.relative_to(root).as_posix()
            name = inner[file] if len(paths) == 1 or root != path else f"{group}/{inner[file]}"
            found.setdefault(os.path.realpath(file), VideoFile(file, shown(name), group, "", fault))
    files = _distinct(list(found.values()))
    if prompts is None:
        return FoundVideos(tuple(map(_with_caption, files)))
    return _with_prompts(files, prompts, {file.path: inner[file.path] for file in files})


def _with_caption(file: VideoFile) -> VideoFile:
    """Add the prompt of the text beside a file, or why that cannot be read."""
    if file.fault:
        return file
    try:
        return replace(file, prompt=caption(file.path))
    except ValueError as error:
        return replace(file, fault=str(error))


def _with_prompts(files: Sequence[VideoFile], prompts: Path, inner: Mapping[Path, str]) -> FoundVideos:
    known = read_prompts(prompts)
    names = match_prompts(known, inner)
    if known and not names:
        raise ValueError(
            f"{prompts}: names none of these videos; expected file names such as {files[0].name}, "
            f"got {', '.join(list(known)[:3])}"
        )
    told = []
    if unused := [name for name in known if name not in names.values()]:
        told.append(f"{prompts}: names without a video of their own: {_listed(unused)}")
    worded = [replace(file, prompt=known[names[file.path]] if file.path in names else "") for file in files]
    if silent := [file.name for file in worded if not file.prompt]:
        told.append(f"{prompts}: videos without a prompt there: {_listed(silent)}")
    return FoundVideos(tuple(worded), tuple(told))


def _listed(names: Sequence[str]) -> str:
    """List some names and the number of others."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _files(path: Path) -> dict[Path, str]:
    """List files, with the fault where one is known without decoding."""
    if not is_folder(path):
        if not os.path.lexists(path):  # a link that leads nowhere is there
            raise ValueError(f"no folder or file {path}")
        return {path: fault_of(path)}
    faults: dict[Path, str] = {}

    def unread(error: OSError) -> None:
        faults[Path(error.filename)] = f"the folder cannot be read: {error.strerror}"

    files = {file: fault_of(file) for file in video_paths(path, unread)} | faults
    if not files:
        raise ValueError(f"no video file in {path}; looked for {', '.join(sorted(EXTENSIONS))}")
    return files


def is_folder(path: Path) -> bool:
    """Return whether a path is a readable folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _group_names(paths: Sequence[Path]) -> list[str]:
    """Short names of paths, longer where two are equal. Files of one folder form one group."""
    folders = [path if is_folder(path) else path.parent for path in paths]
    whole = {folder: Path(os.path.realpath(folder)) for folder in folders}
    clash = len({shown(path.name) for path in whole.values()}) < len(set(whole.values()))
    return [shown(folder.as_posix() if clash else whole[folder].name) for folder in folders]


def _distinct(files: list[VideoFile]) -> list[VideoFile]:
    """Make names unique: equal names of single files in several folders get their folder.

    Names that differ in bytes alone may still look alike: then they are numbered.
    """
    names = [file.name for file in files]
    files = [
        replace(file, name=shown(file.path.as_posix())) if names.count(file.name) > 1 else file
        for file in files
    ]
    met = Counter[str]()
    for place, file in enumerate(files):
        met[file.name] += 1
        if (number := met[file.name]) > 1:
            files[place] = replace(file, name=f"{file.name} ({number})")
    return files
