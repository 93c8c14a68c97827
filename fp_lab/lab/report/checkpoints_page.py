"""Page of tracked trainings: best checkpoints, scores and drift against the step, losses."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from fp_lab.lab.checkpoints.afterwards import Tracked, TrackedRun
from fp_lab.lab.checkpoints.best import Goal
from fp_lab.lab.checkpoints.table import best_lines, steps_table
from fp_lab.lab.compare.paired_values import Panels, Statistic
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.report.document import Picture, document, pictures_html, terms_html
from fp_lab.lab.report.plots.step_curves import Curve, Panel, loss_curves, step_curves
from fp_lab.lab.report.plots.style import Look, looks
from fp_lab.lab.report.without_rollout_section import TITLE
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.labels import short_labels
from fp_lab.lab.results.resampling_units import ResamplingUnits
from fp_lab.lab.scoring.without_rollout import INFLUENCE, NOISE, STEP_ERROR
from fp_lab.lab.tables import to_csv, to_html
from fp_lab.lab.tables.glossary import HISTORIES_IN_FULL, family_title
from fp_metrics.intervals import LEAST_SEEDS, Interval

PAGE, TABLE = "index.html", "tracked.csv"


def write_track_page(tracked: Tracked, goal: Goal, folder: Path) -> Path:
    """Write ``index.html`` with embedded pictures, the pictures as PNG and SVG, and the table as CSV.

    Args:
        tracked: tracked runs.
        goal: criterion of the best checkpoints.
        folder: output folder.
    """
    arms = _arms(tracked.runs)
    seen = looks(arms)
    table = steps_table(tracked, goal)
    write_text(folder / TABLE, to_csv([table]))
    videos = pd.concat([run.videos.assign(arm=run.arm, training_seed=run.seed) for run in tracked.runs])
    basis = ResamplingUnits.of(videos, "step")
    by_estimator = pd.concat([run.table for run in tracked.runs]).groupby("estimator")
    floors = by_estimator["drift_floor"].mean()
    better = by_estimator["higher_is_better"].first()
    pictures: dict[str, list[Picture]] = {shown.name: [] for shown in (_DRIFT, _SCORES, _STEPS)}
    for family in dict.fromkeys(videos["family"]):
        known = videos[videos["family"] == family]
        for shown in _SHOWN.get(family, (_DRIFT, _SCORES)):
            panels = [
                Panel(
                    score,
                    estimator,
                    curves,
                    float(floors.get(estimator, math.nan)) if shown is _DRIFT else math.nan,
                    better=False if shown is _DRIFT else _direction(better.get(estimator)),
                )
                for score, estimator, curves in _curves(known, basis, arms, shown.figure)
            ]
            path = folder / f"{shown.name}-{family}.png"
            step_curves(panels, arms, seen, path, title=shown.title, hint=shown.hint)
            what = f"{shown.name} against the step, {family_title(family)}"
            pictures[shown.name].append(Picture(path, what, shown.caption.format(basis.draws)))
    sections = {
        "Best checkpoints": to_html(table) + _files(),
        "Drift against step": pictures_html(pictures["drift"]),
        "Scores against step": pictures_html(pictures["scores"]),
        **({TITLE: pictures_html(pictures[_STEPS.name])} if pictures[_STEPS.name] else {}),
        "Training": _training(tracked, arms, seen, folder / "loss.png"),
        "Runs": _runs(tracked),
    }
    page = folder / PAGE
    lead = [*best_lines(tracked, goal), *(f"Not scored: {line}" for line in tracked.failed)]
    write_text(page, document("Over the training", lead, _caveat(basis), sections))
    return page


@dataclass(frozen=True)
class _Shown:
    """A statistic against the step, as it is drawn."""

    name: str
    figure: Statistic
    title: str
    hint: str
    caption: str


_DRIFT = _Shown(
    "drift",
    "drift_size",
    "Drift of each score over the training: mean |change| from the first to the last 15 % of a video",
    "Lower is better; down to the dashed line it is no larger than on true videos.",
    "Drift, mean |d|, of each checkpoint's videos with its 95 % band {}; dashed: the ground truth's, which "
    "is the noise of the measure.",
)
_SCORES = _Shown(
    "scores",
    "value",
    f"Scores over the training, {HISTORIES_IN_FULL['own']}",
    "Arrows tell which direction is better; the mean over whole videos says nothing of drift.",
    "Score of each checkpoint's videos, generated history (rollout), with its 95 % band {}.",
)
_STEPS = _Shown(
    "without-rollout",
    "value",
    "Influence of levels and errors of single steps over the training",
    "Influence: the share that a level has in what a section reads; errors: summed over sections, less is "
    "better.",
    "From true history, no rollout, but for the error of that name; with its 95 % band {}.",
)
_SHOWN: Mapping[str, tuple[_Shown, ...]] = {INFLUENCE: (_STEPS,), STEP_ERROR: (_STEPS,), NOISE: ()}
"""Statistics of families that are no scores of videos."""
_LOSS = (
    "Losses by noise level, gradient norm before clipping; running means over 1/20 of the steps, log scale."
)


def _arms(runs: Sequence[TrackedRun]) -> tuple[Arm, ...]:
    labels = short_labels({run.arm: run.config.parsed_recipe for run in runs})
    arms = {}
    for run in runs:
        own = [other for other in runs if other.arm == run.arm]
        seeds, folders = tuple(o.seed for o in own), tuple(o.run.path for o in own)
        arms[run.arm] = Arm(run.arm, run.config.parsed_recipe, labels[run.arm], None, seeds, folders)
    return tuple(arms.values())


def _direction(found: object) -> bool | None:
    """Convert a direction from pandas, where NaN may stand for neither."""
    return None if found is None or found != found else bool(found)


def _curves(
    videos: pd.DataFrame, basis: ResamplingUnits, arms: Sequence[Arm], figure: Statistic
) -> Iterator[tuple[str, str, dict[str, Curve]]]:
    """Yield score, estimator and the curves of all arms, where one is defined."""
    steps = {int(str(step)): Panels(of.reset_index(drop=True), basis) for step, of in videos.groupby("step")}
    for estimator, score in dict(zip(videos["estimator"], videos["score"], strict=True)).items():
        found = {step: of.panel(estimator, figure).intervals for step, of in steps.items()}
        if any(math.isfinite(one.mean) for of in found.values() for one in of.values()):
            yield str(score), str(estimator), {arm.name: _curve(found, arm.name) for arm in arms}


def _curve(found: Mapping[int, Mapping[str, Interval]], arm: str) -> Curve:
    own = {step: of[arm] for step, of in found.items() if arm in of}
    return Curve(
        list(own),
        [interval.mean for interval in own.values()],
        [interval.low for interval in own.values()],
        [interval.high for interval in own.values()],
    )


def _training(tracked: Tracked, arms: Sequence[Arm], seen: Mapping[str, Look], path: Path) -> str:
    """Plot loss curves of each arm's first finished training."""
    tables: dict[str, pd.DataFrame] = {}
    for run in tracked.runs:
        if run.run.loss.is_file():
            tables.setdefault(run.arm, pd.read_parquet(run.run.loss))
    if not tables:
        return "<p>No training is finished yet.</p>"
    finished = [arm for arm in arms if arm.name in tables]
    return Picture(loss_curves(tables, finished, seen, path), "losses against the step", _LOSS).html


def _files() -> str:
    parts = "each run's tracked.parquet has every score of every step"
    return f'<p class="files">The table as <a href="{TABLE}">CSV</a>; {parts}.</p>'


def _runs(tracked: Tracked) -> str:
    entries = {}
    for run in tracked.runs:
        steps = ", ".join(str(step) for step in sorted(set(run.table["step"])))
        entries[run.label] = f"steps {steps}<br>{escape(str(run.run.path))}"
    if tracked.without:
        entries["no checkpoints"] = "<br>".join(escape(str(path)) for path in tracked.without)
    return terms_html(entries)


def _caveat(basis: ResamplingUnits) -> str:
    told = (
        ""
        if basis.over_seeds
        else f"Not {LEAST_SEEDS} trainings of every arm at every step ({basis.counts}): this is about these "
        "models, not about recipes. "
    )
    return told + "The best of many steps looks better than it is: check it on videos that did not choose it."
