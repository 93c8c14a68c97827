"""Exchange with VBench: its results as a table, ours in its format."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fp_data.atomic import replacing
from fp_lab.lab.evaluate.pairs import match_paths
from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.evaluate.score_folders import FolderScores
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_metrics import Score, cluster_interval
from fp_metrics.vbench_json import PROTOCOL, VBenchResults, read_vbench_json, results_of, write_vbench_json

VBENCH_FILE = "vbench.json"
_FAMILIES = ("paper", "paper_vbench_compat")


def write_vbench(scores: FolderScores) -> Path:
    """Write ``vbench.json`` into the folder of the results.

    Metrics of the family `paper` have VBench's names; others have the same form under their estimator's own
    name, as they are not VBench's. ``fp_lab`` holds the protocol.
    """
    results, paper = scores.results, dict[Score, dict[str, float]]()
    others: dict[str, Any] = {}
    for name, kind in scores.kinds.items():
        values = results.values(name)
        binary = kind.score != "dynamic" or all(value in (0, 1) for value in values.values())
        if kind.family in _FAMILIES and kind.score not in paper and binary:
            paper[kind.score] = values
            continue
        defined = {file: value for file, value in values.items() if math.isfinite(value)}
        if defined:
            rows = [{"video_path": file, "video_results": value} for file, value in defined.items()]
            others[name] = [sum(defined.values()) / len(defined), rows]
    others["fp_lab"] = {"fingerprint": results.fingerprint, "protocol": dict(results.protocol)}
    found = results_of(paper)
    path = scores.out / VBENCH_FILE
    with replacing(path) as unfinished:
        write_vbench_json(VBenchResults(found.dimensions, others, (*found.order, *others)), unfinished)
    return path


def vbench_table(path: Path, results: Results) -> Table:
    """Build a table of VBench's results of these videos, apart from ours as its protocol differs.

    A value belongs to the one video whose path ends as VBench's does, folders included where names repeat.

    Raises:
        ValueError: the file is not VBench's, or names none of these videos.
    """
    rows = read_vbench_json(path).to_rows()
    found, matched = _matched(rows, results)
    if not found:
        listed = ", ".join(dict.fromkeys(row["video"] for row in rows[:3])) or "no video"
        raise ValueError(f"{path}: names none of these videos; it has {listed}")
    scores = {row["estimator"]: row["score"] for row in rows}
    columns = tuple(
        Column(name.replace("/", "-"), scores[name], name, None if scores[name] == "dynamic" else "higher")
        for name in found
    )
    missing = Cell(math.nan, reason="not in VBench's file")
    lines = [
        Line(name, "", str(facts["group"]), tuple(cells.get(name, missing) for cells in found.values()))
        for name, facts in results.files.items()
    ]
    for group in results.groups:
        of = f" of {group}" if len(results.groups) > 1 else ""
        files = {name: facts for name, facts in results.files.items() if facts["group"] == group}
        prompts = [facts["prompt"] or name for name, facts in files.items()]
        means = []
        for cells in found.values():
            mean = cluster_interval([cells.get(name, missing).value for name in files], prompts)
            means.append(Cell(mean.mean, mean.low, mean.high, reason=missing.reason))
        lines.append(Line(f"mean{of}", "", "", tuple(means), "floor"))
    named = len({_parts(row["video"]) for row in rows})
    notes = (
        "Measured by VBench's code; drift needs values over time, which its file does not have.",
        f"{matched} of the {named} videos in the file are among these, by the end of their paths.",
    )
    return Table("vbench", f"{PROTOCOL}: {path.name}", columns, tuple(lines), notes, ("file", "group"))


def _matched(rows: Sequence[Mapping[str, Any]], results: Results) -> tuple[dict[str, dict[str, Cell]], int]:
    """Return estimator -> file -> value, and the number of VBench's videos among the files."""
    theirs = list(dict.fromkeys(_parts(row["video"]) for row in rows))
    files = list(results.files)
    ends = [
        _parts(name if name.startswith(f"{facts['group']}/") else f"{facts['group']}/{name}")
        for name, facts in results.files.items()
    ]
    match = {theirs[place]: files[other] for place, other in match_paths(theirs, ends).items()}
    found: dict[str, dict[str, Cell]] = {}
    for row in rows:
        if (name := match.get(_parts(row["video"]))) is not None:
            found.setdefault(row["estimator"], {})[name] = Cell(row["value"], reason=row["reason"] or "")
    return found, len(match)


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(unicodedata.normalize("NFC", path).replace("\\", "/")).parts
