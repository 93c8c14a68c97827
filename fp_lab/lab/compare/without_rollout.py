"""Measures without rollout of arms: which levels they read, and errors of single steps, as tables."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from fp_lab.lab.compare.paired_values import Panel, Panels
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.scoring.without_rollout import ERRORS, INFLUENCE, NOISE, STEP_ERROR, video_values
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_metrics import Interval
from fp_metrics.intervals import LEAST_CLUSTERS

UNREAD = "no more than its noise"
"""Said of a level that a model does not read."""
ERROR_TITLES = {
    "velocity": "velocity, true history",
    "section": "sampled, true history",
    "rollout": "sampled, generated history",
}
"""Kinds of errors of `ERRORS` in words."""
_INFLUENCE_NOTE = (
    "Influence R of a level: how much the velocity of the section with the longest history changes when that "
    "level comes from another video, as a share of the change when all of them do (means of squares, true "
    "history, noise levels 0.95, 0.8 and 0.5). Shares need not add up to 1. Its "
    "noise: the same when the level comes from one more round trip of its own video through the codec."
)
_ERRORS_NOTE = (
    "Mean squared errors of sections in units of the latents' variance, summed over the sections of a video; "
    "velocity: one step at a fixed noise level, otherwise sampled latents against the true ones. From true "
    "history no error is carried on; the sum of such steps bounds what a rollout loses (arXiv 2503.10704)."
)


@dataclass(frozen=True)
class ArmLevelInfluence:
    """How much an arm reads of one level.

    Attributes:
        arm: the arm.
        level: name of the level.
        frames: that the level holds, at most.
        influence: R with its interval.
        noise: R of a perturbed level, with its interval.
        unread: whether R is `UNREAD`: the interval of the difference over the same videos is not above 0.
    """

    arm: Arm
    level: str
    frames: int
    influence: Interval
    noise: Interval
    unread: bool


def level_influences(gathered: Gathered) -> tuple[ArmLevelInfluence, ...]:
    """Summarise the influence of every level, arm by arm; empty without such measures."""
    rows = gathered.without_rollout
    rows = rows[rows["measure"].isin([INFLUENCE, NOISE])]
    if rows.empty:
        return ()
    panels = _panels(video_values(rows), gathered)
    levels = rows[rows["measure"] == INFLUENCE].groupby(["arm", "of", "place"], sort=False, observed=True)
    held = levels["frames"].max().reset_index().sort_values("place")
    found = []
    for arm in gathered.arms:
        levels_of = held[held["arm"] == arm.name]
        for level, frames in zip(levels_of["of"], levels_of["frames"], strict=True):
            own, noise = (panels.panel(f"{kind}/{level}", "value") for kind in (INFLUENCE, NOISE))
            (more,) = own.differences(own.of([arm.name]), noise.of([arm.name])).intervals()
            unread = more.low <= 0 if math.isfinite(more.low) else more.mean <= 0
            shown = own.intervals[arm.name], noise.intervals[arm.name]
            found.append(ArmLevelInfluence(arm, str(level), int(frames), *shown, bool(unread)))
    return tuple(found)


def influence_table(gathered: Gathered, found: Sequence[ArmLevelInfluence]) -> Table:
    """Build the table of the influence of levels, a row for each level of each arm."""
    columns = (
        Column("frames", "frames", "of the level, at most", None, 0),
        Column("influence", "influence", "R, share of all levels", digits=4),
        Column("noise", "its noise", "R of a second round trip", digits=4),
    )
    lines = tuple(
        Line(
            f"{one.arm.name} {one.level}",
            one.arm.label,
            one.level,
            (Cell(float(one.frames)), _cell(one.influence), _cell(one.noise)),
            _kind(one.arm),
            UNREAD if one.unread else "",
        )
        for one in found
    )
    notes = (_INFLUENCE_NOTE, *unread_note(found), *_count_note(gathered, INFLUENCE, "Over"))
    return Table("influence", "Influence of levels", columns, lines, notes, ("arm", "level"))


def unread_note(found: Sequence[ArmLevelInfluence]) -> Iterator[str]:
    """Name the levels that nobody reads, or say that there are none."""
    unread = [f"{one.level} of “{one.arm.label}”" for one in found if one.unread]
    if unread:
        yield f"Levels with {UNREAD}, which are not read: {', '.join(unread)}."
    elif found:
        yield "Every level has more influence than its noise."


def step_errors_table(gathered: Gathered) -> Table:
    """Build the table of the errors of single steps, summed over sections; of the first and last section."""
    panels = error_panels(gathered)
    shown = {
        f"{STEP_ERROR}/velocity": Column("velocity", ERROR_TITLES["velocity"], "sum", "lower"),
        f"{STEP_ERROR}/section": Column("section", ERROR_TITLES["section"], "sum", "lower"),
        "section_error/first": Column("first", "first section", ERROR_TITLES["section"], "lower"),
        "section_error/last": Column("last", "last section", ERROR_TITLES["section"], "lower"),
        f"{STEP_ERROR}/rollout": Column("rollout", ERROR_TITLES["rollout"], "sum", "lower"),
    }
    shown = {name: column for name, column in shown.items() if name in panels}
    figures = {name: panels.panel(name, "value").intervals for name in shown}
    measured = set().union(*(own.keys() for own in figures.values()))
    missing = Interval(math.nan, math.nan, math.nan, 0.95, 0, reliable=False)
    lines = tuple(
        Line(
            arm.name,
            arm.label if arm.label != arm.name else "",
            arm.recipe.order,
            tuple(_cell(own.get(arm.name, missing)) for own in figures.values()),
            _kind(arm),
        )
        for arm in gathered.arms
        if arm.name in measured
    )
    notes = (
        _ERRORS_NOTE,
        *_count_note(gathered, "velocity_error", "Sampled ones over all videos, velocity over"),
    )
    return Table("step-errors", "Errors of single steps", tuple(shown.values()), lines, notes)


def error_panels(gathered: Gathered) -> Panels:
    """Panels of errors: ``step_error/velocity`` (sum), ``section_error/3`` (one section), ``.../last``."""
    rows = gathered.without_rollout
    rows = rows[rows["measure"].isin(list(ERRORS.values()))]
    each = rows.assign(estimator=rows["measure"] + "/" + rows["place"].astype(str))
    last = rows.groupby("arm", observed=True)["place"].transform("max")
    ends = {"first": rows[rows["place"] == 0], "last": rows[rows["place"] == last]}
    parts = [part.assign(estimator=part["measure"] + f"/{end}") for end, part in ends.items()]
    return _panels(pd.concat([video_values(rows), each, *parts], ignore_index=True), gathered)


def summed_errors(gathered: Gathered, score: str) -> Panel:
    """Sum over sections of one of `ERRORS`, per video of every arm; without arms where nothing is stored."""
    rows = gathered.without_rollout
    values = video_values(rows[rows["measure"] == ERRORS[score]])
    return _panels(values, gathered).panel(f"{STEP_ERROR}/{score}", "value")


def _panels(values: pd.DataFrame, gathered: Gathered) -> Panels:
    return Panels(values.reset_index(drop=True), gathered.basis)


def _count_note(gathered: Gathered, measure: str, over: str) -> Iterator[str]:
    rows = gathered.without_rollout
    counts = rows[rows["measure"] == measure].groupby("arm")["video"].nunique()
    if len(counts):
        most, least = int(counts.max()), int(counts.min())
        videos = f"{least}" if least == most else f"{least} to {most}"
        few = f"; below {LEAST_CLUSTERS}, intervals are unreliable" if least < LEAST_CLUSTERS else ""
        yield (
            f"{over} {videos} videos per arm (evaluation.without_rollout){few}; 95 % intervals "
            f"{gathered.basis.draws}."
        )


def _cell(found: Interval) -> Cell:
    return Cell(found.mean, found.low, found.high, reason="not measured" if math.isnan(found.mean) else "")


def _kind(arm: Arm) -> Literal["arm", "control"]:
    return "control" if arm.control else "arm"
