"""Load scores from run folders into tidy tables, without a tracker."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

import pandas as pd

from fp_data.damaged import DamagedFile, naming_damage
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_folder import TRUTH_FOLDER, RunFolder
from fp_lab.lab.files.without_rollout import COLUMNS, read_rows, steps_file
from fp_lab.lab.results.arms import Arm, arms_of, latent_size
from fp_lab.lab.results.find_runs import group_by_grid, runs_below, with_settings
from fp_lab.lab.results.resampling_units import ResamplingUnits
from fp_lab.lab.results.run_index import (
    NOTHING,
    PROTOCOL,
    Index,
    Measure,
    RunFacts,
    joined,
    read_runs,
    training_seed,
)
from fp_lab.lab.results.setting_differences import describe_differences, require_same_settings
from fp_lab.lab.scoring.files import NOISE_FLOOR, SCORED_AGAIN, ScoresFolder
from fp_lab.lab.scoring.given_frames import with_given
from fp_lab.packing.kernel_fit import misfits
from fp_lab.recipe import parse
from fp_metrics.returns import Kind, Return

Returned = dict[str, list[tuple[int, dict[str, Any]]]]
"""Arm -> training seed and content of what came back, a run each."""
_Kind = TypeVar("_Kind", bound="Gathered")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Frozen:
    """Number of videos that stand still in at least half of their steps, see `fp_metrics.Flags.frozen`."""

    count: int
    videos: int

    @property
    def mostly(self) -> bool:
        """Whether more than half of the videos stand still."""
        return 2 * self.count > self.videos

    def __str__(self) -> str:
        return f"frozen: {self.count} of {self.videos} videos" if self.count else ""


@dataclass(frozen=True, eq=False)
class Gathered:
    """Scores of several arms.

    Attributes:
        arms: compared arms, vanilla orders first and controls last.
        videos: one row per arm, training seed, video and estimator, from own history.
        floor_videos: rows of the ground-truth videos, histories ``truth`` and ``raw``; empty without any.
        measures: estimators by name.
        efficiency: times, rates and peak memory, one row per arm and training seed.
        codebooks: codebooks of discrete histories, one row per arm and training seed; empty without any.
        protocol: protocol of the metrics, the same for all arms.
        truths: folders of the ground truth.
        waiting: run folders without scores yet.
        damaged: run folders left out because a file cannot be read -> the file and its fault.
        cautions: cautions on the arms' bases and kernels, to be read before any result.
        differing: settings that differ beyond the arms' names, in a sentence; else empty.
        index: index of the runs as read, with facts under ``<arm>/seed<k>``.
        faults: damaged records of runs whose scores are read: ``cost`` or ``codebooks`` -> arm -> files with
            their fault.
    """

    arms: tuple[Arm, ...]
    videos: pd.DataFrame
    floor_videos: pd.DataFrame
    measures: Mapping[str, Measure]
    efficiency: pd.DataFrame
    codebooks: pd.DataFrame
    protocol: dict[str, Any]
    truths: tuple[Path, ...]
    waiting: tuple[Path, ...]
    cautions: tuple[str, ...] = ()
    differing: str = ""
    index: Index = NOTHING
    damaged: Mapping[Path, str] = field(default_factory=dict)
    faults: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls: type[_Kind],
        index: Index,
        runs: Mapping[Path, RunFacts],
        floor_videos: pd.DataFrame,
        **further: Any,
    ) -> _Kind:
        """Collect the scores of an index for comparisons.

        Args:
            index: index of the scored runs.
            runs: index entries by run folder, in the order of arms.
            floor_videos: rows of the ground-truth videos, see `Gathered`.
            further: attributes that are not in an index.

        Raises:
            ValueError: scores have different protocols, or runs of one arm have different settings.
        """
        return cls(
            arms=arms_of(runs),
            videos=index.frame(),
            floor_videos=floor_videos,
            measures=index.measures(),
            efficiency=_recorded({run: facts.efficiency for run, facts in runs.items()}),
            codebooks=_recorded(
                {
                    run: facts.codebook
                    for run, facts in runs.items()
                    if facts.codebook or "codebook" in facts.faults
                }
            ),
            protocol=_one_protocol(runs, index),
            cautions=tuple(dict.fromkeys(_cautions(runs))),
            differing=_differing(runs, index),
            index=index,
            faults={"cost": _faults(runs, "efficiency"), "codebooks": _faults(runs, "codebook")},
            **further,
        )

    @property
    def runs(self) -> tuple[tuple[str, int, Path], ...]:
        """Yield arm, training seed and folder of every run."""
        return tuple(
            (arm.name, seed, folder)
            for arm in self.arms
            for seed, folder in zip(arm.seeds, arm.folders, strict=True)
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Damaged runs and records that are left out, a line each."""
        lines = [f"Left out: {why}" for why in self.damaged.values()]
        for what, arms in {**self.faults, "memory": self._returned[1]}.items():
            lines += [f"Left out of {what}, not of the scores: {why}" for own in arms.values() for why in own]
        return tuple(lines)

    @property
    def returned(self) -> Returned:
        """What came back: arm, or `NOISE_FLOOR`, -> training seed and its `ScoresFolder.forgetting`.

        Runs without that file, or with a damaged one, are left out, and arms without such a run.
        """
        return self._returned[0]

    @cached_property
    def _returned(self) -> tuple[Returned, dict[str, list[str]]]:
        """Read `returned`, and the damaged files: arm -> files with their fault."""
        truths = [(NOISE_FLOOR, 0, truth) for truth in self.truths]
        found: Returned = {}
        faults: dict[str, list[str]] = {}
        for name, training, folder in (*self.runs, *truths):
            path = ScoresFolder(folder / "scores").forgetting
            try:
                with naming_damage(path, SCORED_AGAIN):
                    if content := read_json(path):
                        _check_returned(content)
                        found.setdefault(name, []).append((training, content))
            except DamagedFile as error:
                faults.setdefault(name, []).append(str(error))
        return found, faults

    @cached_property
    def without_rollout(self) -> pd.DataFrame:
        """Read the measures without rollout of the runs, see `fp_lab.lab.files.without_rollout`."""
        files = {steps_file(RunFolder(folder)): (arm, training) for arm, training, folder in self.runs}
        tables = [
            read_rows(file).assign(arm=arm, training_seed=training)
            for file, (arm, training) in files.items()
            if file.is_file()
        ]
        nothing = pd.DataFrame(columns=[*COLUMNS, "arm", "training_seed"])
        # one without rows has columns of another type
        return pd.concat([table for table in tables if len(table)] or [nothing], ignore_index=True)

    @cached_property
    def frames(self) -> pd.DataFrame:
        """Read values per frame: one row per arm, training seed, video, estimator, history and frame."""
        runs = [run for arm in self.arms for run in arm.folders]
        tables = [
            ScoresFolder(run / "scores")
            .read_frames()
            .assign(arm=run.parent.name, training_seed=training_seed(run))
            for run in runs
        ]
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def floor_frames(self) -> pd.DataFrame:
        """Read values per frame of the ground-truth videos."""
        return _read_truth(self.truths, ScoresFolder.read_frames)

    @cached_property
    def basis(self) -> ResamplingUnits:
        """Units of resampling of all metrics of the arms."""
        return ResamplingUnits.of(self.videos)

    @cached_property
    def frozen(self) -> dict[str, Frozen]:
        """Numbers of videos that stand still, per arm (own history), and of true ones as `NOISE_FLOOR`."""
        truth = self.floor_videos
        truth = truth[truth["history"] == NOISE_FLOOR] if "history" in truth else truth
        return _frozen(self.videos) | _frozen(truth)

    @cached_property
    def ranked(self) -> tuple[Arm, ...]:
        """Arms that may rank best: neither controls nor frozen ones.

        A frozen video does not drift, so an arm most of whose videos are frozen, though the true ones are
        not, would win every drift.
        """
        moves = not (NOISE_FLOOR in self.frozen and self.frozen[NOISE_FLOOR].mostly)
        return tuple(
            arm
            for arm in self.arms
            if not arm.control and not (moves and arm.name in self.frozen and self.frozen[arm.name].mostly)
        )

    @property
    def families(self) -> tuple[str, ...]:
        """Measured families, those of the synthetic world first, companions last."""
        found = dict.fromkeys(self.videos["family"])
        first = {"world": 0, "probe": 1, "companion": 3}
        return tuple(sorted(found, key=lambda family: (first.get(family, 2), family)))

    def estimators(self, family: str) -> dict[str, str]:
        """Return score -> estimator of a family, the first one where there are several."""
        rows = self.videos[self.videos["family"] == family].drop_duplicates("score")
        return dict(zip(rows["score"], rows["estimator"], strict=True))


def make_from_scores(
    make: Callable[[Gathered], _Made], paths: Sequence[Path], settings: Sequence[str] = ()
) -> _Made:
    """Gather scores and make something of them, again without damaged folders where needed.

    Runs and ground truths whose files turn out to be damaged later are left out, as by `gather`.

    Args:
        make: function of the scores; called again for each folder that is left out.
        paths: folders of grids, arms or runs.
        settings: ``key=value`` entries, see `gather`.

    Raises:
        ValueError: raised by `gather` or `make`.
    """
    damaged: dict[Path, str] = {}
    while True:
        try:
            return make(gather(paths, settings, damaged))
        except DamagedFile as error:
            folder = next((place for place in error.path.resolve().parents if _is_left_out(place)), None)
            if folder is None or folder in damaged:
                raise
            damaged[folder] = str(error)


def _is_left_out(folder: Path) -> bool:
    """Return whether a folder is that of a run or of a ground truth."""
    return (
        training_seed(folder) is not None or re.fullmatch(rf"{TRUTH_FOLDER}(-\w+)?", folder.name) is not None
    )


def gather(
    paths: Sequence[Path], settings: Sequence[str] = (), damaged: Mapping[Path, str] = MappingProxyType({})
) -> Gathered:
    """Load the scores below grid, arm or run folders.

    Args:
        paths: folders of grids, arms or runs.
        settings: ``key=value`` entries; only runs with these settings are loaded.
        damaged: folders of runs and ground truths known as damaged, with the fault; left out.

    Raises:
        ValueError: there are no readable scores, or they have different protocols and cannot share a table.
    """
    runs = runs_below(paths)
    runs = list(with_settings(runs, settings)) if settings else runs
    whole = [run for run in runs if run not in damaged]
    parts = {grid: read_runs(grid, own) for grid, own in group_by_grid(whole).items()}
    scored = {grid / name: facts for grid, part in parts.items() for name, facts in part.runs.items()}
    found = {grid / name: why for grid, part in parts.items() for name, why in part.damaged.items()}
    damaged = {**found, **damaged}
    if damaged and not scored:
        raise ValueError(next(iter(damaged.values())))
    if not scored:
        listed = ", ".join(str(path) for path in paths)
        those = f" with {', '.join(settings)}" if settings else ""
        raise ValueError(f"no scored run in {listed}{those}; run fp-lab grid or fp-lab train first")
    index = joined(list(parts.values()))
    scored = {run: scored[run] for run in runs if run in scored}
    truths = sorted(
        {(run / facts.truth).resolve() for run, facts in scored.items() if facts.truth} - set(damaged)
    )
    floor_videos = _floor(truths, next(iter(scored.values())).size, index.measures())
    waiting = tuple(run for run in runs if run not in scored and run not in damaged)
    return Gathered.of(index, scored, floor_videos, truths=tuple(truths), waiting=waiting, damaged=damaged)


def _cautions(runs: Mapping[Path, RunFacts]) -> Iterator[str]:
    yield from (facts.caution for facts in runs.values() if facts.caution)
    arms = dict.fromkeys((facts.recipe, latent_size(facts)) for facts in runs.values())
    of_kernels = dict.fromkeys(said for name, size in arms for said in misfits(parse(name), *size))
    if of_kernels:
        yield "; ".join(of_kernels)


def _differing(runs: Mapping[Path, RunFacts], index: Index) -> str:
    """Describe how arms differ beyond their names; runs of one arm may differ in the training seed alone."""
    settings: dict[str, dict[str, Mapping[str, Any]]] = {}
    for run, facts in runs.items():
        settings.setdefault(run.parent.name, {})[str(run)] = index.settings[facts.settings]
    for arm, seeds in settings.items():
        require_same_settings(arm, seeds)
    return describe_differences({arm: next(iter(seeds.values())) for arm, seeds in settings.items()})


def _one_protocol(runs: Mapping[Path, RunFacts], index: Index) -> dict[str, Any]:
    """Return the common protocol, which metrics of one column need, with the versions of the first run."""
    first_run, first = next(iter(runs.items()))
    agreed = index.protocols[first.protocol]["protocol"]
    for run, facts in runs.items():
        told = index.protocols[facts.protocol]["protocol"]
        for key in PROTOCOL if facts.protocol != first.protocol else ():
            if told[key] != agreed[key]:
                raise ValueError(
                    f"{run} and {first_run} were measured by different protocols ({key} differ) and cannot "
                    "share a table; score one of them again"
                )
        for key in ("frames", "height", "width"):
            if facts.size[key] != first.size[key]:
                raise ValueError(
                    f"{run} has videos of {key}={facts.size[key]}, {first_run} of {first.size[key]}: their "
                    "figures cannot share a table"
                )
    return {**first.size, **agreed}


def _floor(
    truths: Sequence[Path], size: Mapping[str, float], measures: Mapping[str, Measure]
) -> pd.DataFrame:
    """Rows of the ground-truth videos, with drift against the frames that generated ones are given."""
    videos, frames = (
        _read_truth(truths, read) for read in (ScoresFolder.read_videos, ScoresFolder.read_frames)
    )
    spans = {name: measure.span for name, measure in measures.items()}
    videos, frames = (rows[rows["estimator"].isin(list(spans))] for rows in (videos, frames))
    return with_given(videos, frames, size, spans)


def _check_returned(content: Mapping[str, Any]) -> None:
    """Parse the content of `ScoresFolder.forgetting`, to find damage."""
    clusters, histories = content["clusters"], content["histories"]
    for videos in histories.values():
        if len(videos) != len(clusters):
            raise ValueError(f"got {len(videos)} videos, expected {len(clusters)}")
        for row in (row for video in videos for row in video):
            undefined = {figure: math.nan for figure in ("agreement", "psnr") if row[figure] is None}
            found = Return(**{**row, **undefined})
            numbers = (found.gap, found.agreement, found.psnr, found.weight)
            if found.kind not in get_args(Kind) or not all(isinstance(n, int | float) for n in numbers):
                raise ValueError(f"got {row}, expected something that came back")


def _read_truth(truths: Sequence[Path], read: Callable[[ScoresFolder], pd.DataFrame]) -> pd.DataFrame:
    scored = (ScoresFolder(truth / "scores") for truth in truths)
    tables = [read(scores) for scores in scored if scores.summary.is_file()]
    if not tables:
        return pd.DataFrame(
            columns=["video", "prompt", "seed", "history", "estimator", "score", "family", "value"]
        )
    table = pd.concat(tables, ignore_index=True)
    return table.assign(arm=NOISE_FLOOR, training_seed=0)


def _frozen(videos: pd.DataFrame) -> dict[str, Frozen]:
    """Return arm -> number of frozen videos."""
    if "frozen" not in videos:
        return {}
    once = videos.drop_duplicates(["arm", "training_seed", "video"])
    flags = once["frozen"].fillna(value=False).astype(bool).groupby(once["arm"], observed=True)
    return {str(arm): Frozen(int(own.sum()), len(own)) for arm, own in flags}


def _faults(runs: Mapping[Path, RunFacts], kind: str) -> dict[str, list[str]]:
    """Damaged records of a kind: arm -> files with their fault."""
    found: dict[str, list[str]] = {}
    for run, facts in runs.items():
        if kind in facts.faults:
            found.setdefault(run.parent.name, []).append(f"{run}/{facts.faults[kind]}")
    return found


def _recorded(figures: Mapping[Path, Mapping[str, float]]) -> pd.DataFrame:
    """Recorded metrics of runs, one row per run."""
    return pd.DataFrame(
        [{"arm": run.parent.name, "training_seed": training_seed(run), **own} for run, own in figures.items()]
    )
