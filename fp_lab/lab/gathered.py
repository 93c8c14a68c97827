"""What grids and runs have left in their folders, read into tidy tables; nothing is asked of a tracker."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fp_lab.compressions import from_parts
from fp_lab.lab.config import LATENT_STRIDE, load
from fp_lab.lab.evaluate import NOISE_FLOOR
from fp_lab.lab.stages import RunFolder
from fp_lab.lab.summary import FRAMES_FILE, SUMMARY_FILE, VIDEOS_FILE
from fp_lab.packing.schedule import context_limit
from fp_lab.recipe import COMPRESSIONS, Recipe, parse

_USUAL_SECTION = 9


@dataclass(frozen=True)
class Arm:
    """One row of a comparison.

    Attributes:
        name: the arm's folder name: its recipe or label, and other axes after ``--``.
        recipe: parsed.
        label: short and unique among the arms, for plots.
        context_tokens: most context tokens that a section sees; None without bound.
        seeds: training seeds that have scores.
        folders: their run folders, in the order of `seeds`.
    """

    name: str
    recipe: Recipe
    label: str
    context_tokens: int | None
    seeds: tuple[int, ...]
    folders: tuple[Path, ...]

    @property
    def control(self) -> bool:
        """Whether it is the positive control: no history at all."""
        return self.recipe.order == "none"


@dataclass(frozen=True, eq=False)
class Gathered:
    """Scores of several arms.

    Attributes:
        arms: vanilla orders first, controls last.
        videos: one row per arm, training seed, video, estimator and history.
        frames: one row per arm, training seed, video, estimator, history and frame.
        floor_videos: the same of the ground-truth videos, histories ``truth`` and ``raw``; empty without any.
        floor_frames: per frame.
        efficiency: one row per arm and training seed.
        codebooks: the same of discrete histories; empty where there are none.
        protocol: how the figures were made, the same for all arms.
        truths: folders of the ground truth.
        waiting: run folders that have no scores yet.
    """

    arms: tuple[Arm, ...]
    videos: pd.DataFrame
    frames: pd.DataFrame
    floor_videos: pd.DataFrame
    floor_frames: pd.DataFrame
    efficiency: pd.DataFrame
    codebooks: pd.DataFrame
    protocol: dict[str, Any]
    truths: tuple[Path, ...]
    waiting: tuple[Path, ...]

    @property
    def families(self) -> tuple[str, ...]:
        """Families that were measured, those of the synthetic world first, companions last."""
        found = dict.fromkeys(self.videos["family"])
        first = {"world": 0, "probe": 1, "companion": 3}
        return tuple(sorted(found, key=lambda family: (first.get(family, 2), family)))

    def estimators(self, family: str) -> dict[str, str]:
        """Score -> estimator of a family, the first one where it has several."""
        rows = self.videos[self.videos["family"] == family].drop_duplicates("score")
        return dict(zip(rows["score"], rows["estimator"], strict=True))


def gather(paths: Sequence[Path], settings: Sequence[str] = ()) -> Gathered:
    """Read the scores below some grid, arm or run folders.

    Args:
        paths: the folders.
        settings: ``key=value`` entries; only runs that have these settings are read.

    Raises:
        ValueError: no scores there, or scores of different protocols: they cannot share a table.
    """
    runs = sorted({run for path in paths for run in _run_folders(path)}, key=str)
    runs = [run for run in runs if _has(run, settings)] if settings else runs
    scored = [run for run in runs if (run / "scores" / SUMMARY_FILE).is_file()]
    if not scored:
        listed = ", ".join(str(path) for path in paths)
        those = f" with {', '.join(settings)}" if settings else ""
        raise ValueError(f"no scored run in {listed}{those}; run fp-lab grid or fp-lab train first")
    summaries = {
        run: json.loads((run / "scores" / SUMMARY_FILE).read_text(encoding="utf-8")) for run in scored
    }
    protocol = _one_protocol(summaries)
    size = summaries[scored[0]]["height"], summaries[scored[0]]["width"]
    truths = sorted({(run / s["truth"]).resolve() for run, s in summaries.items() if "truth" in s})
    return Gathered(
        arms=_arms(scored, size),
        videos=_read(scored, VIDEOS_FILE),
        frames=_read(scored, FRAMES_FILE),
        floor_videos=_read_truth(truths, VIDEOS_FILE),
        floor_frames=_read_truth(truths, FRAMES_FILE),
        efficiency=_recorded(scored, lambda run: RunFolder(run).efficiency),
        codebooks=_recorded(
            [run for run in scored if RunFolder(run).codebook.is_file()], lambda run: RunFolder(run).codebook
        ),
        protocol=protocol,
        truths=tuple(truths),
        waiting=tuple(run for run in runs if run not in summaries),
    )


def _has(run: Path, settings: Sequence[str]) -> bool:
    """Whether a run's config is what it would be with these settings."""
    config = RunFolder(run).config
    return config.is_file() and load(config, settings) == load(config)


def _run_folders(path: Path) -> Iterable[Path]:
    """Folders ``<arm>/seed<k>`` at or below a path that hold samples or scores."""
    if not path.is_dir():
        raise ValueError(
            f"no folder {path}; name a grid folder (runs/demo) or a run folder (runs/demo/g9/seed0)"
        )
    found = {
        place.parent
        for name in ("scores", "samples", "train")
        for place in path.rglob(name)
        if place.is_dir()
    }
    return {folder.resolve() for folder in found | {path} if _training_seed(folder) is not None}


def _training_seed(run: Path) -> int | None:
    digits = run.resolve().name.removeprefix("seed")
    return int(digits) if run.resolve().name.startswith("seed") and digits.isdecimal() else None


def _one_protocol(summaries: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """What must agree for figures to share a column, and the versions of the first run."""
    first_run, first = next(iter(summaries.items()))
    for run, summary in summaries.items():
        for key in ("protocol", "segments", "estimators"):
            if summary["protocol"][key] != first["protocol"][key]:
                raise ValueError(
                    f"{run} and {first_run} were measured by different protocols ({key} differ) and cannot "
                    "share a table; score one of them again"
                )
        for key in ("frames", "height", "width"):
            if summary[key] != first[key]:
                raise ValueError(
                    f"{run} has videos of {key}={summary[key]}, {first_run} of {first[key]}: their figures "
                    "cannot share a table"
                )
    size = {key: first[key] for key in ("videos", "frames", "height", "width", "fps")}
    protocol: dict[str, Any] = {**size, **first["protocol"]}
    return protocol


def _arms(runs: Sequence[Path], size: tuple[int, int]) -> tuple[Arm, ...]:
    by_name: dict[str, list[Path]] = {}
    for run in runs:
        by_name.setdefault(run.parent.name, []).append(run)
    recipes = {name: _recipe(folders[0]) for name, folders in by_name.items()}
    labels = {}
    for name, recipe in recipes.items():
        own, _, options = name.partition("--")
        label = short_label(recipe) if own == str(recipe) else own.replace("_", " ")
        labels[name] = label + (f", {options}" if options else "")
    counts = Counter(labels.values())
    arms = []
    for name, folders in by_name.items():
        recipe = recipes[name]
        limit = context_limit(recipe, *(side // LATENT_STRIDE for side in size))
        label = labels[name] if counts[labels[name]] == 1 else name
        seeds = tuple(_training_seed(folder) or 0 for folder in folders)
        arms.append(Arm(name, recipe, label, limit, seeds, tuple(folders)))
    return tuple(sorted(arms, key=_rank))


def _recipe(run: Path) -> Recipe:
    """Of a run's config; of a folder without one, what its name says."""
    config = RunFolder(run).config
    return load(config).parsed_recipe if config.is_file() else parse(run.parent.name.partition("--")[0])


_ORDERS = ("vanilla", "endpoint", "inverted", "planned", "none")


def _rank(arm: Arm) -> tuple[int, int, int, int, str]:
    """Orders together, compressions in the order of their table, sizes as numbers; the control last."""
    compression = arm.label.partition(",")[0]
    known = list(COMPRESSIONS)
    return (
        _ORDERS.index(arm.recipe.order),
        known.index(compression) if compression in known else len(known),
        arm.recipe.codebook or 0,
        -arm.recipe.section,
        arm.name,
    )


def short_label(recipe: Recipe) -> str:
    """A recipe in plain words: its compression and order where they have names, else the notation itself."""
    if recipe.order == "none":
        return "no history"
    tail = recipe.left.tail or recipe.right.tail
    for compression in COMPRESSIONS if recipe.order != "planned" else ():
        if from_parts(compression, recipe.order, recipe.section, tail, recipe.codebook) == recipe:
            parts = [compression, recipe.order, *_apart(recipe, tail)]
            return ", ".join(parts)
    return str(recipe)


def _apart(recipe: Recipe, tail: str | None) -> list[str]:
    """What sets a recipe apart from others of its compression and order."""
    section = [] if recipe.section == _USUAL_SECTION else [f"g{recipe.section}"]
    kept = [tail] if tail in ("ta", "tc") else []
    return [*section, *kept, *([] if recipe.codebook is None else [f"+D{recipe.codebook}"])]


def _read(runs: Sequence[Path], name: str) -> pd.DataFrame:
    tables = []
    for run in runs:
        table = pd.read_parquet(run / "scores" / name)
        table.insert(0, "training_seed", _training_seed(run))
        table.insert(0, "arm", run.parent.name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _read_truth(truths: Sequence[Path], name: str) -> pd.DataFrame:
    tables = [pd.read_parquet(path) for truth in truths if (path := truth / "scores" / name).is_file()]
    if not tables:
        return pd.DataFrame(
            columns=["video", "prompt", "seed", "history", "estimator", "score", "family", "value"]
        )
    table = pd.concat(tables, ignore_index=True)
    return table.assign(arm=NOISE_FLOOR, training_seed=0)


def _recorded(runs: Sequence[Path], file_of: Callable[[Path], Path]) -> pd.DataFrame:
    """Figures that runs left in a JSON file, one row per run."""
    rows = []
    for run in runs:
        path = file_of(run)
        figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        rows.append({"arm": run.parent.name, "training_seed": _training_seed(run), **figures})
    return pd.DataFrame(rows)
