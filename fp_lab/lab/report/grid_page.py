"""Report of a grid as one self-contained page: verdict, tables, plots, strips, videos, protocol."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean

from fp_lab.lab.claims import check_on, counted
from fp_lab.lab.compare.comparison import Comparison, compare
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.video_batch import Videos
from fp_lab.lab.report.claims_page import claims_html
from fp_lab.lab.report.document import Picture, data_uri, document, pictures_html
from fp_lab.lab.report.plots.curves import (
    SMOOTHING,
    Curves,
    drift_bars,
    gap_bars,
    history_curves,
    score_curves,
)
from fp_lab.lab.report.plots.strips import arm_strips, overview_strips
from fp_lab.lab.report.plots.style import Look, looks
from fp_lab.lab.report.protocol import protocol_html
from fp_lab.lab.report.trade_offs import forgetting, quality_and_cost
from fp_lab.lab.report.without_rollout_section import without_rollout
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered, make_from_scores
from fp_lab.lab.scoring.files import NOISE_FLOOR
from fp_lab.lab.tables import to_html
from fp_lab.lab.tables.glossary import HISTORIES_IN_FULL, family_title

REPORT_FOLDER = "report"
PROMPTS = 3
"""Number of shown videos, chosen by events in the true ones, not by their looks."""
_DRIFTS = {"drift": "Drift", "drift-given": "Drift against the given frame"}
_PLAYER = 'loop muted playsinline preload="metadata"'
_HISTORY_SCORES = ("anatomy", "identity", "clarity", "psnr")


def write_report(grid_folder: Path, runs: Sequence[Path] | None = None, reported: Path | None = None) -> Path:
    """Compare the arms of a grid and write a folder ``report/``.

    Args:
        grid_folder: folder with ``<arm>/seed<k>`` and the ground truth.
        runs: run folders ``<arm>/seed<k>`` to compare, by default all.
        reported: folder to write it into, with ``grid.yaml`` and ``command.txt``; by default the grid's
            folder.

    Returns:
        Path of the page, ``report/index.html``.

    Raises:
        ValueError: there are no scores, or they cannot share a table.
    """

    def write(gathered: Gathered) -> Path:
        return _write(gathered, grid_folder, reported or grid_folder)

    return make_from_scores(write, [grid_folder] if runs is None else runs)


def _write(gathered: Gathered, grid_folder: Path, reported: Path) -> Path:
    folder = reported / REPORT_FOLDER
    comparison = compare(gathered)
    comparison.write(folder)
    arms_looks = looks(gathered.arms)
    sections = {
        "Tables": _tables(comparison),
        "Scores over video time": pictures_html(_curves(gathered, arms_looks, folder)),
        "Drift and exposure bias": pictures_html(_bars(comparison, arms_looks, folder)),
        "Quality and cost": pictures_html(quality_and_cost(comparison, arms_looks, folder)),
        **forgetting(comparison, arms_looks, folder),
        **without_rollout(comparison, arms_looks, folder),
        "Frame strips": _strips(gathered, arms_looks, folder),
        "Videos": _videos(gathered, folder),
        "Claims": _claims(comparison),
        "Protocol": protocol_html(gathered, reported),
    }
    page = folder / "index.html"
    write_text(page, _page(grid_folder.resolve().name, comparison, sections))
    return page


def _page(name: str, comparison: Comparison, sections: Mapping[str, str]) -> str:
    verdict, waiting = comparison.verdict, comparison.gathered.waiting
    note = f"{len(waiting)} runs have no scores yet and are not in this report." if waiting else ""
    lead = (*comparison.gathered.cautions, *verdict.findings, note, *comparison.gathered.left_out)
    return document(name, lead, verdict.caveat, sections)


def _tables(comparison: Comparison) -> str:
    """Render the main tables open, the rest folded."""
    shown = comparison.shown
    folded = [table for table in comparison.tables if table not in shown]
    more = "\n".join(to_html(table) for table in folded)
    summary = f"Further tables: {escape(', '.join(table.title for table in folded))}"
    details = f"<details><summary>{summary}</summary>{more}</details>" if folded else ""
    links = {"table.md": "Markdown", "table.csv": "CSV", "table.html": "HTML"}
    listed = ", ".join(f'<a href="{file}">{name}</a>' for file, name in links.items())
    files = f'<p class="files">The tables alone: {listed}.</p>'
    return "\n".join([*(to_html(table) for table in shown), details, files])


def _curves(gathered: Gathered, arms_looks: Mapping[str, Look], folder: Path) -> list[Picture]:
    borders, curves = _borders(gathered), Curves(gathered)
    pictures = []
    for family in (f for f in gathered.families if f != "companion"):
        path = score_curves(curves, family, arms_looks, borders, folder / f"curves-{family}.png")
        caption = (
            f"Mean over videos at each frame, {HISTORIES_IN_FULL['own']}, running mean over {SMOOTHING} "
            f"frames, 95 % bands {gathered.basis.draws}; faint lines are borders of sections, each generated "
            "in one call of the sampler; drift compares the shaded first and last 15 %, dots at frame 0 are "
            f"the given frame alone. Scores: {family_title(family)}; PSNR against the true continuation."
        )
        pictures.append(Picture(path, f"scores over video time, {family_title(family)}", caption))
    known = gathered.estimators(gathered.families[0]) | gathered.estimators("companion")
    estimators = {score: known[score] for score in _HISTORY_SCORES if score in known}
    path = history_curves(curves, estimators, arms_looks, borders, folder / "curves-histories.png")
    caption = (
        "Generated history (rollout: each section sees what the model made before) against true history "
        "(teacher forcing: each section sees the true video), arm by arm: where the dashed curve stays high "
        "and the solid one falls, errors accumulate; where both are low, the model is weak."
    )
    return [*pictures[:1], Picture(path, "generated against true history", caption), *pictures[1:]]


def _bars(comparison: Comparison, arms_looks: Mapping[str, Look], folder: Path) -> list[Picture]:
    pictures = []
    for table in comparison.tables:
        kind, _, family = table.key.rpartition("-")
        if kind in _DRIFTS and any(math.isfinite(c.value) for line in table.lines for c in line.cells):
            path = drift_bars(comparison.gathered, table, arms_looks, folder / f"{table.key}.png")
            what = f"{_DRIFTS[kind]}, mean |d|, {family_title(family)}"
            caption = (
                f"{what}; up to the dashed line it is no larger than on true videos, which do not drift."
            )
            pictures.append(Picture(path, what, caption))
        elif kind == "gap":
            path = gap_bars(comparison.gathered, table, arms_looks, folder / f"gap-{family}.png")
            what = f"Exposure bias, {family_title(family)}"
            caption = f"{what}: score from true history less score from generated history; 0 is best."
            pictures.append(Picture(path, what, caption))
    return pictures


def _claims(comparison: Comparison) -> str:
    """Render the paper's findings that these runs can check; exact claims have a page of their own."""
    checked = check_on(comparison)
    note = f"{len(checked)} claims that runs can decide: {counted(checked)}. All: <code>fp-lab claims</code>."
    return f"<p>{note}</p>{claims_html(checked)}"


def _strips(gathered: Gathered, arms_looks: Mapping[str, Look], folder: Path) -> str:
    truth = _truth(gathered)
    owns = {arm.name: Videos.load(arm.folders[0] / "samples" / "own.safetensors") for arm in gathered.arms}
    shown = _shown(gathered, min(len(videos.seeds) for videos in owns.values()))
    labelled = {arm.label: owns[arm.name] for arm in gathered.arms}
    colours = {arm.label: arms_looks[arm.name].colour for arm in gathered.arms}
    legend = (
        "The bar below a frame gives its section: what is generated in one call of the sampler, numbered in "
        "the order of generation (light first, dark last). Endpoint orders generate the beginning and the "
        "end together, as section 1."
    )
    pictures = [
        Picture(
            overview_strips(labelled, colours, truth, index, folder / f"strip-overview-{index:02d}.png"),
            f"all arms, video {index}",
            f"All arms, {HISTORIES_IN_FULL['own']}, video {index}. {legend}",
            photo=True,
        )
        for index in shown
    ]
    folded = []
    for number, arm in enumerate(gathered.arms):
        true = Videos.load(arm.folders[0] / "samples" / "true.safetensors")
        path = folder / f"strip-arm-{number:02d}.png"
        arm_strips(owns[arm.name], true, truth, shown, arms_looks[arm.name].colour, path)
        picture = Picture(
            path, f"frames of {arm.label}", f"{arm.name}, training seed {arm.seeds[0]}. {legend}", photo=True
        )
        folded.append(f"<details open><summary>{_name(arm)}</summary>{picture.html}</details>")
    note = (
        f"<p>{len(shown)} videos of the evaluation set, first training seed: the first, or those in which "
        "hidden objects come back soonest.</p>"
    )
    return "\n".join([note, pictures_html(pictures), *folded])


def _shown(gathered: Gathered, count: int) -> list[int]:
    """Choose the shown videos, those first in which hidden objects come back soonest."""
    gaps = dict.fromkeys(range(count), math.inf)
    for _, content in gathered.returned.get(NOISE_FLOOR, [])[:1]:
        for index, rows in zip(range(count), content["histories"][NOISE_FLOOR], strict=False):
            hidden = [row["gap"] for row in rows if row["kind"] in ("object", "told") and row["gap"]]
            gaps[index] = fmean(hidden) if hidden else math.inf
    return sorted(gaps, key=lambda index: gaps[index])[:PROMPTS]


def _videos(gathered: Gathered, folder: Path) -> str:
    """Render a grid of players: one row per arm, one column per video, where mp4 files exist."""
    rows = []
    sources = [(f"{_name(arm)}", arm.folders[0] / "samples", "own") for arm in gathered.arms]
    for label, samples, history in sources:
        files = sorted(samples.glob(f"{history}-*.mp4"))[:4]
        cells = "".join(f'<td><video src="{data_uri(file)}" {_PLAYER}></video></td>' for file in files)
        if files:
            rows.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
    if not rows:
        return "<p>No mp4 files were written.</p>"
    note = f"{HISTORIES_IN_FULL['own']}, in step; the first videos of the evaluation set"
    controls = f'<p><button id="play">Play all</button> {note}</p>'
    return f'{controls}<div class="scroll"><table class="videos">{"".join(rows)}</table></div>'


def _name(arm: Arm) -> str:
    name = f"<code>{escape(arm.name)}</code>"
    return name if arm.label == arm.name else f"{escape(arm.label)} <small>{name}</small>"


def _truth(gathered: Gathered) -> Videos | None:
    paths = [path for truth in gathered.truths if (path := truth / "samples" / "raw.safetensors").is_file()]
    return Videos.load(paths[0]) if paths else None


def _borders(gathered: Gathered) -> list[int]:
    """First frames of sections where all arms agree on them; otherwise empty."""
    found = []
    for arm in gathered.arms:
        videos = Videos.load(arm.folders[0] / "samples" / "own.safetensors")
        order = videos.order
        found.append([t for t in range(1, len(order)) if order[t] != order[t - 1]])
    return found[0] if all(borders == found[0] for borders in found) else []
