"""Grids: a base, axes and further arms, seeds; every arm is a small difference from the base."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fp_lab.lab.config import (
    Document,
    ExperimentConfig,
    Layer,
    dotted_layer,
    fill_of_order,
    flatten,
    merge,
    override_layer,
    read_layers,
    read_yaml,
    with_origin,
    yaml_of,
)
from fp_lab.lab.files.experiments import find_experiment
from fp_lab.lab.files.names import IN_GRIDS, IN_RUNS, check_folder_name
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.grids.axes import differences
from fp_lab.lab.planning.flops import at_equal_compute
from fp_lab.recipe.parts import PARTS

GRID_KEYS = ("name", "base", "common", "axes", "arms", "exclude", "seeds")
EXPECT_SAME = "expect_same"
"""Key of an arm that is meant to do the same as another one; no setting, so it is in no key of a stage."""
OVERRIDDEN = ("name", "seeds")
"""Keys of a grid that the command line may override."""
_LONGEST_NAME = 160  # bytes


@dataclass(frozen=True)
class Arm:
    """One arm with one seed.

    Attributes:
        name: recipe and differing settings of the arm; name of its folder.
        seed: seed of the training.
        config: resolved settings.
        place: folder of the arm's runs, by default its name; see `fp_lab.lab.grids.placement`.
        former: folder of the arm's name in earlier versions, which had its label twice.
        expect_same: whether the arm is meant to do the same as another one, see `fp_lab.lab.first_batch`.
    """

    name: str
    seed: int
    config: ExperimentConfig
    place: str = ""
    former: str = ""
    expect_same: bool = False

    def __post_init__(self) -> None:
        """Use the name as folder, unless another one is chosen."""
        object.__setattr__(self, "place", self.place or self.name)

    @property
    def folder(self) -> Path:
        """Folder of the run, relative to the grid's folder."""
        return Path(self.place) / f"seed{self.seed}"


@dataclass(frozen=True)
class Grid:
    """Arms to compare.

    Attributes:
        name: name of its folder under runs.
        arms: arms in running order.
        files: all files that were read.
    """

    name: str
    arms: tuple[Arm, ...]
    files: tuple[Path, ...]

    def to_yaml(self) -> str:
        """Write the resolved grid as YAML: its name and the folder of every arm, which holds the config."""
        arms = [{"name": arm.place, "seed": arm.seed, "folder": arm.folder.as_posix()} for arm in self.arms]
        return yaml_of({"name": self.name, "arms": arms})


def load_grid(name: str | Path, overrides: Sequence[str] = ()) -> Grid:
    """Load a grid from its file; the keys are `GRID_KEYS`.

    ``axes`` maps keys to lists of values, whose product gives arms, without those that match an entry of
    ``exclude``; ``arms`` lists further arms, with ``expect_same: true`` where one is meant to do the same as
    another; ``common`` holds what differs from the base in every arm.

    Args:
        name: name of the file, see `find_experiment`.
        overrides: ``key=value`` entries that apply to every arm; ``seeds`` and ``name`` are the grid's.

    Raises:
        ValueError: a key is unknown, a value has the wrong type, or two arms are equal.
    """
    path = find_experiment(name)
    asked = override_layer(overrides, ExperimentConfig)
    own = {key: value for key, value in asked.values.items() if key in OVERRIDDEN}
    settings = Layer(asked.origin, {key: value for key, value in asked.values.items() if key not in own})
    file = read_yaml(path, ExperimentConfig)
    values = {**file.values, **own}
    _check_keys(path, file)
    name = _name(path, asked.origin if "name" in own else path, values)
    base = read_layers(find_experiment(str(values.get("base") or "base"), beside=path), ExperimentConfig)
    seeds = _seeds(asked.origin if "seeds" in own else path, values.get("seeds", [0]))
    shared = values.get("common") or {}
    if not isinstance(shared, Mapping):
        raise ValueError(f"{path}: common: got {shared!r}, expected keys with values{file.line('common')}")
    common = dotted_layer(shared, f"{path}: common", file.below("common"))
    arms = []
    for written, lines in differences(path, file):
        apart = {key: value for key, value in written.items() if key != EXPECT_SAME}
        same = written.get(EXPECT_SAME, False)
        if not isinstance(same, bool):
            raise ValueError(f"{path}: {EXPECT_SAME}: got {same!r}, expected true or false")
        layers = [common, dotted_layer(apart, f"{path}: arm {apart}", lines), settings]
        _refuse_seed(layers)
        arms += [replace(_arm([*base, *layers], apart, seed), expect_same=same) for seed in seeds]
    if not arms:
        raise ValueError(
            f"{path}: exclude: nothing is left of the axes, expected an arm{file.line('exclude')}"
        )
    names = [(arm.name, arm.seed) for arm in arms]
    for twice in {label for label in names if names.count(label) > 1}:
        raise ValueError(
            f"{path}: the arm {twice[0]} with seed {twice[1]} is there twice; remove or exclude one"
        )
    files = (path, *(Path(layer.origin) for layer in base))
    return Grid(name, tuple(arms), files)


def load_single(name: str | Path, overrides: Sequence[str] = ()) -> Grid:
    """Load an experiment file as a grid of one arm."""
    path = find_experiment(name)
    layers = read_layers(path, ExperimentConfig)
    arm = _arm([*layers, override_layer(overrides, ExperimentConfig)], {}, None)
    return Grid(_name(path, path, {}), (arm,), tuple(Path(layer.origin) for layer in layers))


def _name(path: Path, origin: object, values: Mapping[str, Any]) -> str:
    """Name of the folder under runs: from the file's content, else the file's name."""
    return check_folder_name(f"{origin}: name", str(values.get("name", path.stem)), IN_RUNS)


def _arm(layers: Sequence[Layer], own: Mapping[str, Any], seed: int | None) -> Arm:
    seeded = layers if seed is None else [*layers, Layer("seeds", {"seed": seed})]
    config = merge(seeded)
    try:
        config = at_equal_compute(config)
    except ValueError as error:
        raise ValueError(with_origin(str(error), seeded)) from error
    apart = {k: v for k, v in flatten(own).items() if k not in (*PARTS, "recipe", "baseline", "like")}
    apart |= fill_of_order(own)
    label = config.label or config.recipe
    name = folder_name(label, {k: v for k, v in apart.items() if (k, v) != ("label", config.label)})
    said = next((layer.origin for layer in reversed(layers) if "label" in layer.values), "recipe")
    check_folder_name(f"{said}: label", name, IN_GRIDS)
    if config.label is not None and not config.label.isprintable():
        raise ValueError(f"{said}: label: got {config.label!r}, expected characters that are printed")
    return Arm(name, config.seed, config, former=folder_name(label, apart))


def folder_name(name: str, apart: Mapping[str, Any]) -> str:
    """Make a folder name from a name and differing settings; a long one ends in a digest of the whole."""
    whole = "".join([name, *(f"--{key}={value}" for key, value in apart.items())])
    safe = re.sub(r"[^\w.+=,-]+", "-", whole)
    if len(safe.encode()) > _LONGEST_NAME:
        begin = safe.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
        safe = f"{begin}-{digest({'name': whole})[:8]}"
    return safe


def _check_keys(path: Path, file: Document) -> None:
    for key in file.values:
        if key not in GRID_KEYS:
            close = get_close_matches(key, GRID_KEYS, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; the keys are {', '.join(GRID_KEYS)}."
            raise ValueError(
                f"{path}: unknown key {key!r} in a grid{hint} Settings of all arms go under common."
                f"{file.line(key)}"
            )


def _seeds(origin: object, value: Any) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(seed) is int and seed >= 0 for seed in value):
        raise ValueError(
            f"{origin}: seeds: got {value!r}, expected a list of whole numbers such as [0, 1, 2]"
        )
    return value


def _refuse_seed(layers: Sequence[Layer]) -> None:
    """Refuse seeds of single arms, which the seeds of the grid would override."""
    for layer in layers:
        if "seed" in layer.values:
            raise ValueError(
                f"{layer.origin}: seed: got {layer.values['seed']!r}, expected none: the training seeds of a "
                "grid are its seeds, such as seeds=[0, 1, 2]"
            )
