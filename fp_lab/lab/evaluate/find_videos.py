"""Which video files are scored, and what each one is said to show."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fp_data.clips import EXTENSIONS, caption, video_paths
from fp_data.video_file import fault_of
from fp_lab.lab.evaluate.prompt_files import match_prompts, read_prompts
from fp_lab.lab.files.names import shown

_NAMED = 8


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


@dataclass(frozen=True)
class FoundVideos:
    """What there is to score.

    Attributes:
        files: what is named as a video, what cannot be read too.
        told: what a reader should know of the prompts.
    """

    files: tuple[VideoFile, ...]
    told: tuple[str, ...] = ()


def find_videos(paths: Sequence[Path], prompts: Path | None = None) -> FoundVideos:
    """Every video file of some folders (searched recursively), and single files.

    Args:
        paths: folders and files. A file that is named is taken whatever its ending is.
        prompts: see `prompt_files.read_prompts`; else a file's prompt is the text beside it (same
            name, .txt).

    Raises:
        ValueError: nothing there, no video, or prompts that name none of them.
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
    """With the prompt that is written beside a file, or why that cannot be read."""
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
    """Some names and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _files(path: Path) -> dict[Path, str]:
    """Files, and why those cannot be scored of which that is known without decoding."""
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
    """Whether there is a folder that can be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _group_names(paths: Sequence[Path]) -> list[str]:
    """Short names, unless two are the same. Files of one folder are one group."""
    folders = [path if is_folder(path) else path.parent for path in paths]
    whole = {folder: Path(os.path.realpath(folder)) for folder in folders}
    clash = len({shown(path.name) for path in whole.values()}) < len(set(whole.values()))
    return [shown(folder.as_posix() if clash else whole[folder].name) for folder in folders]


def _distinct(files: list[VideoFile]) -> list[VideoFile]:
    """Single files of several folders may have one name: then they are shown with their folder.

    Names that differ in bytes alone may still be shown alike: then they are counted.
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
