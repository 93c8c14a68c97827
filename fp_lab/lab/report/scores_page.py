"""Page of a scored folder: summary, curves, strips, faults of files, protocol."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from fp_lab.lab.evaluate.drifting import drifts
from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.evaluate.score_file import strip_path
from fp_lab.lab.evaluate.score_folders import FolderScores
from fp_lab.lab.evaluate.tables import summary_table
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.report.document import Picture, document, rows_html, terms_html
from fp_lab.lab.report.plots.folder_curves import draw_series
from fp_lab.lab.scoring.files import ScoresFolder
from fp_lab.lab.tables import Table, number, to_html
from fp_lab.lab.tables.glossary import DIRECTIONS

PAGE = "index.html"
_STRIPS = 24  # videos whose frames are shown


def write_scores_page(scores: FolderScores, command: str, further: Sequence[Table] = ()) -> Path:
    """Write ``index.html`` and its pictures beside the results.

    Args:
        scores: scores of the folders.
        command: command behind the scores.
        further: further tables below the summary.
    """
    results = scores.results
    tables = [summary_table(group, scores.kinds, results) for group in results.groups]
    frames = ScoresFolder(scores.out).read_frames()
    curves = draw_series(frames, scores.kinds, results, scores.out / "curves.png")
    caption = (
        "Score over a video's length, smoothed; faint: single videos, bold: the mean of a group. "
        "The shaded ends are the first and the last 15 %, whose difference is the drift."
    )
    sections = {
        "Summary": "\n".join(to_html(table) for table in (*tables, *further)),
        "Scores over video time": Picture(curves, "scores over video time", caption).html,
        "Frames": _strips(scores),
        "Files": _files(results),
        "Scores and drift by file": "\n".join(to_html(table) for table in scores.tables),
        "Protocol": _protocol(results, command),
    }
    page = scores.out / PAGE
    title = ", ".join(results.groups)
    write_text(page, document(f"Scores of {title}", _lead(results), _caveat(results), sections))
    return page


def _lead(results: Results) -> list[str]:
    count = len(results.files)
    said = [f"{count} video{'s' if count > 1 else ''} scored."]
    drifting = drifts(results)
    for group in results.groups:
        told = []
        for words, sign in (("gets worse", -1), ("gets better", 1), ("changes", 0)):
            named = []
            for name, mean in drifting[group].items():
                better = results.protocol["estimators"][name]["higher_is_better"]
                if sign == (0 if better is None else 1 if (mean > 0) == better else -1):
                    named.append(f"{name} ({number(mean, 3)})")
            told += [f"{words} from start to end in {', '.join(named)}"] if named else []
        said.append(f"{group}: {'; '.join(told) or 'no drift can be told from none'}.")
    if results.skipped:
        said.append(f"{len(results.skipped)} could not be scored: {', '.join(results.skipped)}. See Files.")
    return said


def _caveat(results: Results) -> str:
    if results.reliable:
        return ""
    return "Fewer than 16 prompts: intervals are unreliable, and no drift is claimed from them."


def _strips(scores: FolderScores) -> str:
    shown = []
    for file in scores.files[:_STRIPS]:
        path = strip_path(file, scores.out / "videos")
        if file.name in scores.results.files and path.is_file():
            source = quote(path.relative_to(scores.out).as_posix())
            facts = scores.results.files[file.name]
            text = f"{file.name}: {facts['prompt'] or 'no prompt'} ({facts['frames']} frames)"
            image = f'<img src="{source}" alt="frames of {escape(file.name)}" loading="lazy">'
            shown.append(f"<figure>{image}<figcaption>{escape(text)}</figcaption></figure>")
    rest = len(scores.results.files) - len(shown)
    note = f"<p>{rest} more videos are not shown.</p>" if rest > 0 else ""
    return "<p>Evenly spaced, the first and the last frame among them.</p>" + "\n".join(shown) + note


def _files(results: Results) -> str:
    flags = results.videos.drop_duplicates("file").set_index("file")
    rows = []
    for name, facts in results.files.items():
        found = flags.loc[name]
        notes = list(facts["notes"])
        if found["frozen"]:
            notes.append(
                f"frozen in {100 * found['frozen_share']:.0f} % of its steps: consistency says little"
            )
        elif not pd.isna(found["frozen_from"]):
            notes.append(f"nothing moves from frame {found['frozen_from']} on")
        if not pd.isna(found["loop_period"]):
            notes.append(f"repeats every {found['loop_period']} frames: consistency says little")
        own = results.videos[results.videos["file"] == name]
        undefined = own["estimator"][own["value"].isna()]
        if len(undefined):
            notes.append(f"undefined: {', '.join(undefined)} (reasons in the table below)")
        size = f"{facts['width']}x{facts['height']}, {facts['frames']} frames, {facts['fps']:.4g}/s"
        rows.append((name, size, "; ".join(notes) or "in order"))
    rows += [(name, "not scored", why) for name, why in results.skipped.items()]
    return rows_html(("file", "size", "notes"), ([escape(text) for text in row] for row in rows))


def _protocol(results: Results, command: str) -> str:
    protocol = results.protocol
    entries = {
        "command": f"<code>{escape(command)}</code>",
        "fingerprint": f"<code>{results.fingerprint}</code> (figures with another one are not compared)",
        "segments": escape(protocol["segments"]),
        "versions": escape(", ".join(f"{name} {version}" for name, version in protocol["versions"].items())),
    }
    heads = ("estimator", "score", "unit", "better", "every n-th frame", "settings", "weights (sha256)")
    return terms_html(entries) + rows_html(heads, map(_estimator, protocol["estimators"].items()))


def _estimator(described: tuple[str, Mapping[str, Any]]) -> list[str]:
    name, told = described
    settings = ", ".join(f"{key} {json.dumps(value)}" for key, value in told["settings"].items())
    weights = ", ".join(
        f"{artifact} {(digest or 'not published')[:12]}" for artifact, digest in told["weights"].items()
    )
    cells = (
        told["unit"],
        DIRECTIONS[told["higher_is_better"]],
        str(told["every"]),
        settings,
        weights or "none",
    )
    return [f"<code>{escape(name)}</code>", *map(escape, (told["score"], *cells))]
