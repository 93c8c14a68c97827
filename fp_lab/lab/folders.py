"""Scores of any folder of videos: each file decoded once, corrupt ones named and skipped, resumable."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fp_data.clips import EXTENSIONS, caption
from fp_data.video import VideoInfo, probe, read_video
from fp_lab.lab.atomic import write_text
from fp_lab.lab.measured import VideoRows
from fp_lab.lab.summary import plain, summarise, video_table, write_tables
from fp_lab.lab.tables import Cell, Column, Line, Table, to_csv
from fp_metrics import choose, protocol, score_video
from fp_metrics.suite import PROTOCOL_VERSION

HISTORY = "given"
"""What stands in the column `history`: nobody knows how these videos were made."""
_CHUNK = 16  # frames held at once


@dataclass(frozen=True, eq=False)
class FolderScores:
    """Scores of a folder of videos.

    Attributes:
        tables: scores and signed drift, one row per video, and their mean.
        summary: as in ``summary.json``.
        skipped: file name -> why it was skipped.
        out: where the files were written.
    """

    tables: tuple[Table, Table]
    summary: dict[str, Any]
    skipped: dict[str, str]
    out: Path


def score_folder(
    path: Path,
    *,
    out: Path | None = None,
    families: Sequence[str] = ("plain",),
    progress: Callable[[int, int, str], None] | None = None,
) -> FolderScores:
    """Score every video file of a folder, or one file.

    Writes ``frames.parquet``, ``videos.parquet``, ``summary.json`` and ``scores.csv``; what is measured on
    one file is kept under ``videos/``, so that a second call measures only what is new or has changed.

    Args:
        path: a folder, searched recursively, or one file; captions come from .txt files beside them.
        out: where to write; by default ``scores`` in the folder.
        families: of estimators that need no ground truth.
        progress: called with the files done, their number, and the next one's name.

    Raises:
        ValueError: nothing there, no usable video, or a family that needs a ground truth.
    """
    needy = [name for name, kind in choose(families).items() if kind.needs_truth]
    if needy:
        raise ValueError(f"{needy[0]} needs the ground truth of a synthetic world; use --families plain")
    files = _files(path)
    root = path if path.is_dir() else path.parent
    out = root / "scores" if out is None else out
    rows, skipped = [], {}
    for index, file in enumerate(files):
        name = file.relative_to(root).as_posix()
        if progress:
            progress(index, len(files), name)
        try:
            rows.append(_scored(file, name, index, out / "videos", families))
        except ValueError as error:
            skipped[name] = str(error).removeprefix(f"{file}: ")
    if progress:
        progress(len(files), len(files), "")
    if not rows:
        listed = "".join(f"\n  {name}: {why}" for name, why in list(skipped.items())[:10])
        raise ValueError(f"no usable video in {path}:{listed}")
    videos = video_table([row for part in rows for row in part.videos])
    figures = {"videos": len(rows), "skipped": skipped} | summarise(videos) | {"protocol": protocol(families)}
    summary = plain(figures)
    write_tables(out, pd.DataFrame([row for part in rows for row in part.frames]), videos, summary)
    tables = _tables(videos, families)
    write_text(out / "scores.csv", to_csv(tables))
    return FolderScores(tables, summary, skipped, out)


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


def _scored(file: Path, name: str, index: int, folder: Path, families: Sequence[str]) -> VideoRows:
    """Measure one file, or find what was measured before on the same content by the same protocol."""
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    key = f"{content} {' '.join(families)} {PROTOCOL_VERSION}"
    kept = (
        folder
        / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"
    )
    identity = {"video": index, "prompt": caption(file), "seed": index, "file": name}
    if kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["key"] == key:
            return VideoRows([identity | r for r in found["frames"]], [identity | r for r in found["videos"]])
    video = probe(file)
    scored = score_video(_chunks(video), families=families, length=video.frames)
    frames = plain([{"history": HISTORY} | row for row in scored.to_rows()])
    videos = plain([{"history": HISTORY} | row for row in scored.to_summary()])
    write_text(kept, json.dumps({"key": key, "frames": frames, "videos": videos}) + "\n")
    return VideoRows([identity | row for row in frames], [identity | row for row in videos])


def _chunks(video: VideoInfo) -> Iterator[Tensor]:
    """A file's frames, float32 ``n 3 h w`` in [0, 1], a few at a time."""
    waiting: list[Tensor] = []
    for frame in read_video(video):
        waiting.append(torch.from_numpy(frame).movedim(-1, 0).to(torch.float32) / 255)
        if len(waiting) == _CHUNK:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)


def _tables(videos: pd.DataFrame, families: Sequence[str]) -> tuple[Table, Table]:
    """Score, and signed drift, per video and estimator."""
    name = ", ".join(families)
    drift_note = "Score of the last 15 % of the frames less that of the first 15 %."
    return (
        _table(videos, families, "score", f"Scores, family {name}", "value", "reason", ()),
        _table(videos, families, "drift", f"Drift, family {name}", "drift", "drift_reason", (drift_note,)),
    )


def _table(
    videos: pd.DataFrame,
    families: Sequence[str],
    key: str,
    title: str,
    figure: str,
    reason: str,
    notes: tuple[str, ...],
) -> Table:
    kinds = choose(families)
    columns = tuple(Column(kind.score, kind.score, name) for name, kind in kinds.items())

    def line(name: str, rows: pd.DataFrame) -> Line:
        cells = []
        for estimator in kinds:
            own = rows[rows["estimator"] == estimator]
            why = own[reason].dropna().unique()
            cells.append(Cell(float(own[figure].mean()), reason=str(why[0]) if len(why) else ""))
        return Line(name, "", "", tuple(cells))

    lines = [line(str(name), rows) for name, rows in videos.groupby("file", sort=False)]
    return Table(f"{key}-{'-'.join(families)}", title, columns, (*lines, line("mean", videos)), notes)
