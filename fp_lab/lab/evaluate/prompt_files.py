"""Files of prompts, matched to videos however the file names them."""

import csv
import io
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from fp_lab.lab.evaluate.pairs import common_end


def read_prompts(path: Path) -> dict[str, str]:
    """Read prompts by file: ``.json`` (an object), ``.csv`` (file, prompt), else ``name<TAB>prompt`` lines.

    White space in prompts is normalised; an empty prompt stands for none.

    Raises:
        ValueError: the file is missing or of another format, has a row without prompt or with a comma too
            many, or names a video twice.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path}: no prompts can be read: it is no file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no prompts can be read: {error}") from error
    readers = {".json": _from_json, ".csv": _from_csv}
    rows = readers.get(path.suffix.lower(), _from_lines)(path, text)
    known: dict[str, str] = {}
    for name, prompt in rows:
        if not (name + prompt).isascii() and _is_broken(name + prompt):
            raise ValueError(f"{path}: the prompt of {name!r} holds half a character, expected UTF-8 text")
        single = " ".join(prompt.split())
        if known.setdefault(name, single) != single:
            raise ValueError(f"{path}: names {name} twice, with different prompts")
    return known


def match_prompts(names: Iterable[str], videos: Mapping[Path, str]) -> dict[Path, str]:
    """Match the names of a file of prompts to videos.

    A name stands for the videos that share most of its last parts, the file name at least, with or without
    its ending, so it still matches after a move to another folder or machine. Backslashes are slashes, and
    composed characters are the same as decomposed ones.

    Args:
        names: names as written in the file.
        videos: path -> path within the requested folder.

    Returns:
        Video -> name, for videos with one. A video with two equally good names has none.
    """
    ends: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
    for video in videos:
        *folders, _ = _parts(video.absolute().as_posix())
        for last in {_normal(video.name), _normal(video.stem)}:
            ends.setdefault(last, []).append((video, (*folders, last)))
    exact = {inner: video for video, inner in videos.items()}
    options: dict[Path, list[tuple[int, str]]] = {}
    for name in names:
        parts = _parts(name)
        shared = {video: common_end(parts, end) for video, end in ends.get(parts[-1], ())} if parts else {}
        if name in exact:
            shared[exact[name]] = sys.maxsize
        for video, count in shared.items():
            if count == max(shared.values()):
                options.setdefault(video, []).append((count, name))
    found = {}
    for video, known in options.items():
        best = [name for count, name in known if count == max(known)[0]]
        if len(best) == 1:
            (found[video],) = best
    return found


def _from_csv(path: Path, text: str) -> list[tuple[str, str]]:
    table = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        columns = [name.strip().lower() for name in table.fieldnames or ()]
        if not {"file", "prompt"} <= set(columns):
            raise ValueError(f"{path}: got the columns {', '.join(columns)}, expected file and prompt")
        table.fieldnames = columns
        rows = []
        for row in table:
            if None in row or None in row.values():
                more = "more" if None in row else "fewer"
                raise ValueError(
                    f"{path}: line {table.line_num} has {more} than {len(columns)} fields, expected "
                    f"{','.join(columns)}; a prompt with a comma stands in double quotes"
                )
            rows.append((row["file"], row["prompt"]))
    except csv.Error as error:
        raise ValueError(f"{path}: line {table.line_num} is no CSV: {error}") from error
    return rows


def _from_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        known = json.loads(text, object_pairs_hook=list)  # a name that stands there twice is seen
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from error
    whole = isinstance(known, list) and all(isinstance(pair, tuple) for pair in known)
    if not whole or not all(isinstance(value, str) for _, value in known):
        raise ValueError(f"{path}: expected an object of file names and prompts")
    return list(known)


def _from_lines(path: Path, text: str) -> list[tuple[str, str]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, tab, prompt = line.partition("\t")
        if not tab:
            raise ValueError(f"{path}: line {number} has no tab; expected a file name, a tab, the prompt")
        rows.append((name.strip(), prompt))
    return rows


def _is_broken(text: str) -> bool:
    return any(unicodedata.category(letter) == "Cs" for letter in text)


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(_normal(name.strip()).replace("\\", "/")).parts
