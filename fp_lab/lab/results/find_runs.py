"""Search for run folders below paths, also by their settings."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from fp_data.damaged import DamagedFile
from fp_lab.lab.files.run_config import run_settings
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.results.run_index import read_runs, training_seed
from fp_lab.lab.scoring.files import plain
from fp_lab.recipe.parts import PARTS


def runs_below(paths: Sequence[Path]) -> list[Path]:
    """Find run folders ``<arm>/seed<k>`` at or below paths, with samples, scores or a training.

    Raises:
        ValueError: a folder does not exist.
    """
    return sorted({run for path in paths for run in _run_folders(path)}, key=str)


def group_by_grid(runs: Sequence[Path]) -> dict[Path, list[Path]]:
    """Group run folders by the folder of their grid."""
    grids: dict[Path, list[Path]] = {}
    for run in runs:
        grids.setdefault(run.parents[1], []).append(run)
    return grids


def group_by_length(paths: Sequence[Path]) -> dict[int, list[Path]]:
    """Group scored runs below folders by the length of their videos in frames, the shortest first.

    Damaged runs, whose length is unknown, are in every group.
    """
    found: dict[int, list[Path]] = {}
    damaged: list[Path] = []
    for grid, own in group_by_grid(runs_below(paths)).items():
        index = read_runs(grid, own)
        damaged += [grid / name for name in index.damaged]
        for name, facts in index.runs.items():
            found.setdefault(int(facts.size["frames"]), []).append(grid / name)
    return {frames: [*runs, *damaged] for frames, runs in sorted(found.items())}


def with_settings(runs: Sequence[Path], settings: Sequence[str]) -> Iterator[Path]:
    """Select runs by settings of their config; parts stand for their recipe, a baseline for its label."""
    from fp_lab.lab.config import ExperimentConfig, flatten, load, override_layer  # imports torch
    from fp_lab.lab.config.layers import BASELINE_KEYS

    configs = {run: path for run in runs if (path := RunFolder(run).config).is_file()}
    told = {}
    for run, path in configs.items():
        try:
            told[run] = run_settings(path)
        except DamagedFile:
            yield run  # said where it is read
    if not told:
        return
    stand_ins = dict.fromkeys(PARTS, "recipe") | dict.fromkeys(BASELINE_KEYS, "label")
    keys = {stand_ins.get(key, key) for key in flatten(override_layer(settings, ExperimentConfig).values)}
    wanted = plain(flatten(asdict(load(configs[next(iter(told))], settings))))
    usual = plain(flatten(asdict(ExperimentConfig("g9"))))
    for run, own in told.items():
        whole = usual | flatten(own)
        if all(whole.get(key) == wanted.get(key) for key in keys):
            yield run


def _run_folders(path: Path) -> Iterable[Path]:
    """Find folders ``<arm>/seed<k>`` at or below a path, with samples, scores or a training."""
    if not path.is_dir():
        raise ValueError(
            f"no folder {path}; name a grid folder (runs/drift) or a run folder (runs/drift/g9/seed0)"
        )
    folder = path.resolve()
    if training_seed(folder) is not None:
        yield folder
        return
    for place, names, _ in os.walk(folder):
        seeds = [name for name in names if training_seed(Path(name)) is not None]
        names[:] = [name for name in names if name not in seeds]
        for run in (Path(place, name) for name in seeds):
            if any((run / made).is_dir() for made in ("scores", "samples", "train")):
                yield run
