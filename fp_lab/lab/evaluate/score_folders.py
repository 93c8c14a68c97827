"""Scoring of folders of videos: every file is decoded once, bad ones are named, finished ones reused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fp_data.read_video import glance
from fp_lab.lab.evaluate.find_videos import VideoFile, find_videos, is_folder
from fp_lab.lab.evaluate.results import HISTORY, Results
from fp_lab.lab.evaluate.score_file import FileScores, Measuring, find_scores, score_file
from fp_lab.lab.evaluate.tables import folder_tables
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.runtime.process_pool import Advance, pooled
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.files import ScoresFolder, frame_table, plain, video_table
from fp_lab.lab.scoring.score_video import Row
from fp_lab.lab.scoring.summary import summarise
from fp_lab.lab.tables import Table, to_csv
from fp_metrics import Estimator, choose, protocol
from fp_metrics.weights import ARTIFACTS, MissingWeights, sizes_in_words, state_of


@dataclass(frozen=True, eq=False)
class FolderScores:
    """Scores of folders of videos.

    Attributes:
        tables: scores and signed drift, one row per video, then the means of each group.
        results: results as in the output folder.
        kinds: measured estimators by name.
        files: video files that were found.
        out: output folder.
        told: remarks on the prompts.
    """

    tables: tuple[Table, Table]
    results: Results
    kinds: Mapping[str, type[Estimator]]
    files: tuple[VideoFile, ...]
    out: Path
    told: tuple[str, ...] = ()

    @property
    def skipped(self) -> Mapping[str, str]:
        """File name -> reason why it was not scored."""
        return self.results.skipped


def score_folders(
    paths: Sequence[Path],
    *,
    out: Path | None = None,
    measuring: Measuring,
    prompts: Path | None = None,
    workers: int | None = None,
    threads: int = 1,
    reporter: Reporter | None = None,
) -> FolderScores:
    """Score every video file of folders, or single files.

    Writes a `ScoresFolder`, as that of a run, and the tables as ``scores.csv``; the scores of each
    file are stored under ``videos/``, so that a second call measures only new or changed files.

    Args:
        paths: folders, searched recursively, and files. Each folder is a group with a mean of its own.
        out: output folder; by default ``scores`` in the first folder.
        measuring: settings with families, metrics and device.
        prompts: file of prompts; by default the .txt files beside the videos.
        workers: number of processes; None: one per core. The results do not depend on it.
        threads: number of threads per worker.
        reporter: receiver of the frames done.

    Raises:
        ValueError: a path does not exist, there is no usable video, or a family needs a ground truth.
        MissingWeights: a family needs weights that are missing.
    """
    kinds = choose(measuring.families, measuring.metrics)
    needy = [name for name, kind in kinds.items() if kind.needs_truth]
    if needy:
        raise ValueError(f"{needy[0]} needs the ground truth of a synthetic world; use --family plain")
    inputs = find_videos(paths, prompts)
    files = inputs.files
    _require_weights(kinds)
    root = paths[0] if is_folder(paths[0]) else paths[0].parent
    out = root / "scores" if out is None else out
    scores = _score_all(files, measuring, out / "videos", workers, threads, reporter or Reporter())
    if all(own.failure for own in scores.values()):
        listed = "".join(f"\n  {file.name}: {scores[i].failure}" for i, file in enumerate(files[:10]))
        raise ValueError(f"no usable video in {', '.join(map(str, paths))}:{listed}")
    frames = frame_table([row | _known(f, i) for i, f in enumerate(files) for row in scores[i].frames])
    videos = video_table([row | _known(f, i) for i, f in enumerate(files) for row in scores[i].videos])
    results = Results(_summary(files, scores, videos, measuring), videos)
    ScoresFolder(out).write(frames, videos, results.summary)
    tables = folder_tables(kinds, results)
    write_text(out / "scores.csv", to_csv(tables))
    return FolderScores(tables, results, kinds, files, out, inputs.told)


def _require_weights(kinds: Mapping[str, type[Estimator]]) -> None:
    """Check, before hours of work, that all weights are there; name all missing ones at once."""
    needed = [kind for kind in kinds.values() if not kind.unavailable()]
    names = list(dict.fromkeys(name for kind in needed for name in kind.artifacts()))
    missing = [name for name in names if state_of(name) != "present"]
    if len(missing) == 1:
        raise MissingWeights(ARTIFACTS[missing[0]])
    if missing:
        size = sizes_in_words([ARTIFACTS[name] for name in missing])
        raise ValueError(
            f"{len(missing)} weights are missing ({size}): {', '.join(missing)}\n"
            f"Get them:  fp-lab weights get {' '.join(missing)}\n"
            "or see what they are:  fp-lab weights list\nor use --family plain, which needs none."
        )


def _score_all(
    files: Sequence[VideoFile],
    measuring: Measuring,
    folder: Path,
    workers: int | None,
    threads: int,
    reporter: Reporter,
) -> dict[int, FileScores]:
    """Scores of every file, stored or new."""
    found = {
        index: kept for index, file in enumerate(files) if (kept := find_scores(file, measuring, folder))
    }
    missing = [index for index in range(len(files)) if index not in found]
    done = 0
    reporter.begin("frames", sum(_length(files[index]) for index in missing))

    def advance(more: int) -> None:
        nonlocal done
        done += more
        reporter.advance(done, f"{len(found)}/{len(files)} videos")

    advance(0)
    work = partial(_score, measuring=measuring, folder=folder)
    tasks = [files[index] for index in missing]
    for number, scores in pooled(
        work, tasks, workers=workers, threads=threads, advance=advance, preload=(__name__,), lost=_lost
    ):
        found[missing[number]] = scores
        advance(0)
    return found


def _score(file: VideoFile, advance: Advance, *, measuring: Measuring, folder: Path) -> FileScores:
    return score_file(file, measuring, folder, advance)


def _lost(file: VideoFile) -> FileScores:
    why = "the process that scored it was killed twice: too little memory, or its decoder crashed"
    return FileScores([], [], {}, failure=why)


def _length(file: VideoFile) -> int:
    try:
        return glance(file.path).frames
    except (OSError, ValueError):
        return 0


def _known(file: VideoFile, index: int) -> Row:
    identity = {"video": index, "prompt": file.prompt, "seed": index, "history": HISTORY}
    return identity | {"file": file.name, "group": file.group}


def _summary(
    files: Sequence[VideoFile], scores: Mapping[int, FileScores], videos: pd.DataFrame, measuring: Measuring
) -> dict[str, Any]:
    scored = [(file, scores[index]) for index, file in enumerate(files) if not scores[index].failure]
    facts = {
        file.name: {**own.facts, "prompt": file.prompt, "group": file.group, "notes": list(own.notes)}
        for file, own in scored
    }
    skipped = {file.name: scores[index].failure for index, file in enumerate(files) if scores[index].failure}
    told = {"protocol": protocol(measuring.families, measuring.metrics), "files": facts, "skipped": skipped}
    summary: dict[str, Any] = plain({"videos": len(scored)} | summarise(videos) | told)
    return summary
