"""Folders of arms: each belongs to one identity, and results are replaced only on request.

An arm with other settings goes beside it, into a folder named by the difference.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fp_lab.lab.files.locking import Busy, only_one
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.grid import Arm, Grid, folder_name
from fp_lab.lab.provenance.inputs import Inputs, read_inputs
from fp_lab.lab.provenance.plugins import plugins_used
from fp_lab.lab.provenance.stage_keys import StageKeys, stage_keys
from fp_lab.lab.runs.identity import (
    ARM_FILE,
    Identity,
    assigning_folders,
    identity_in,
    results_in,
    write_identity,
)

_SHOWN = 4  # settings that a line names
_OTHER = {
    "weights": "other weights",
    "data": "other data",
    "estimators": "other estimators",
    "version": "another version of the lab",
}


@dataclass(frozen=True)
class Placed:
    """Folders of the arms of one command.

    Attributes:
        grid: grid with the arms' folders.
        identities: identities of the arms, in order.
        keys: keys of their stages, in the same order.
        trained: run folders whose model an arm may reuse, in the same order.
        folder: folder of the grid.
        reported: folder of this command's ``grid.yaml`` and ``report``.
        lines: messages on arms that go beside others, with the reason.
    """

    grid: Grid
    identities: tuple[Identity, ...]
    keys: tuple[StageKeys, ...]
    trained: tuple[tuple[Path, ...], ...]
    folder: Path
    reported: Path
    lines: tuple[str, ...]

    @property
    def arms(self) -> dict[Path, Identity]:
        """Yield the folders of the arms with their identities."""
        return {
            self.folder / arm.place: identity
            for arm, identity in zip(self.grid.arms, self.identities, strict=True)
        }

    @property
    def title(self) -> str:
        """Name of the grid, with the difference where all arms of this command are beside others."""
        apart = "" if self.reported == self.folder else f" {self.reported.name}"
        return f"{self.grid.name}{apart}"

    def seeds(self, place: Path) -> list[str]:
        """List the names of the seeds' folders in an arm's folder."""
        return [arm.folder.name for arm in self.grid.arms if self.folder / arm.place == place]


def place_arms(grid: Grid, folder: Path, *, in_place: bool = False, redo: bool = False) -> Placed:
    """Choose a folder for every arm; nothing is written.

    An arm goes to the folder of its identity; else into the folder of its name if that is free; else beside
    it.

    Args:
        grid: grid with the arms.
        folder: folder of the grid.
        in_place: whether to take the folder of the arm's name and replace other results there.
        redo: whether to repeat stages that are done.

    Raises:
        ValueError: the codec or the base of an arm is missing; results cannot be replaced, as another process
            uses them or they have other seeds too.
    """
    names = {arm.name for arm in grid.arms}
    inputs = _inputs(grid.arms)
    fresh = [stage_keys(arm.config, read) for arm, read in zip(grid.arms, inputs, strict=True)]
    identities = [
        Identity.of(arm.config, keys, read) for arm, keys, read in zip(grid.arms, fresh, inputs, strict=True)
    ]
    known: dict[str, Identity] = {}
    there = _folders(folder)
    chosen: list[Arm] = []
    for arm, identity in zip(grid.arms, identities, strict=True):
        place = arm.name if in_place else _choose(folder, arm, identity, known, there, names)
        if place not in known:
            found = identity_in(folder / place)
            same = found is not None and found.same_results(identity)
            known[place] = found if found and same else identity
        chosen.append(replace(arm, place=place))
    if redo:
        seeds = {place: [arm.folder.name for arm in chosen if arm.place == place] for place in known}
        known = {place: identity.redo(seeds[place]) for place, identity in known.items()}
    own = [known[arm.place] for arm in chosen]
    keys = [
        keys.again(identity.redone.get(arm.folder.name, 0))
        for arm, identity, keys in zip(chosen, own, fresh, strict=True)
    ]
    placed = Placed(
        replace(grid, arms=tuple(chosen)),
        tuple(own),
        tuple(keys),
        tuple(_trained(folder, arm, identity, there) for arm, identity in zip(chosen, own, strict=True)),
        folder,
        _reported(folder, chosen),
        tuple(_lines(folder, chosen, identities)),
    )
    if in_place:
        _require_replaceable(placed)
    return placed


def _inputs(arms: Sequence[Arm]) -> list[Inputs]:
    """Inputs of each arm; arms with the same files share their digests, as folders of clips may be large."""
    read: dict[str, Inputs] = {}
    sources = [str((arm.config.codec, arm.config.model, arm.config.data)) for arm in arms]
    for arm, source in zip(arms, sources, strict=True):
        if source not in read:
            read[source] = read_inputs(arm.config)
    return [
        replace(read[source], plugins=plugins_used(arm.config))
        for arm, source in zip(arms, sources, strict=True)
    ]


def reserve_folders(grid: Grid, folder: Path, *, in_place: bool = False, redo: bool = False) -> Placed:
    """Choose a folder for every arm and reserve it; to be called while `assigning_folders`.

    Args:
        grid: grid with the arms.
        folder: folder of the grid.
        in_place: whether to replace other results, see `place_arms`.
        redo: whether to repeat stages, see `place_arms`.

    Raises:
        ValueError: an arm cannot be placed, see `place_arms`.
    """
    placed = place_arms(grid, folder, in_place=in_place, redo=redo)
    for place, identity in placed.arms.items():
        write_identity(place, identity)
    return placed


def release_unused(placed: Placed) -> None:
    """Release folders without results, so that other settings may use them."""
    with assigning_folders(placed.folder):
        for place in placed.arms:
            if not any(results_in(place)):
                (place / ARM_FILE).unlink(missing_ok=True)


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a grid's folder, sorted; none where it does not exist yet."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []


def _places(arm: Arm, there: Sequence[str]) -> list[str]:
    """Folders that may hold an arm: of its name, also that of earlier versions, and those beside them."""
    names = dict.fromkeys(filter(None, (arm.name, arm.former)))
    beside = (folder for name in names for folder in there if folder.startswith(f"{name}--"))
    return list(dict.fromkeys((*names, *beside)))


def _choose(
    folder: Path,
    arm: Arm,
    identity: Identity,
    known: Mapping[str, Identity],
    there: Sequence[str],
    names: Collection[str],
) -> str:
    """Choose a folder of the same identity, or a free one that no other arm of the grid is named after."""
    name = arm.name

    def at(name: str) -> Identity | None:
        return known.get(name) or identity_in(folder / name)

    for place in (*_places(arm, there), *known):
        if (place == name or place not in names) and (found := at(place)) and found.same_results(identity):
            return place
    found = at(name)
    if found is None:
        return name
    apart = {key: ours for key, (_, ours) in found.differences(identity).items()} if found.settings else {}
    beside, number = folder_name(name, apart), 1
    while beside == name or beside in names or at(beside) is not None:
        number += 1
        beside = f"{folder_name(name, apart)}--{number}"
    return beside


def _trained(folder: Path, arm: Arm, identity: Identity, there: Sequence[str]) -> tuple[Path, ...]:
    places = [name for name in _places(arm, there) if name != arm.place]
    return tuple(
        folder / name / arm.folder.name
        for name in places
        if (found := identity_in(folder / name)) and found.train == identity.train
    )


def _require_replaceable(placed: Placed) -> None:
    """Refuse to replace results in use, or some seeds of an arm without the others."""
    for arm, identity in zip(placed.grid.arms, placed.identities, strict=True):
        place = placed.folder / arm.place
        found = identity_in(place)
        if found is None or found.same_results(identity):
            continue
        seeds = placed.seeds(place)
        if more := [run.path.name for run in results_in(place) if run.path.name not in seeds]:
            raise ValueError(
                f"--replace: {place} holds {', '.join(more)} too, expected training seeds of this command "
                f"alone ({', '.join(seeds)}); name all seeds, or remove what is not needed"
            )
        try:
            with only_one(RunFolder(placed.folder / arm.folder).lock, wait=False):
                pass
        except Busy:
            raise ValueError(
                f"--replace: another process is at {placed.folder / arm.folder}; wait for it"
            ) from None


def _reported(folder: Path, arms: Sequence[Arm]) -> Path:
    """Folder of the report: the grid's, or a separate one where all arms are beside others."""
    own = ["" if arm.place == arm.former else arm.place.removeprefix(arm.name) for arm in arms]
    apart = list(dict.fromkeys(name.removeprefix("--") for name in own))
    return folder / "reports" / folder_name("--".join(apart), {}) if all(apart) else folder


def _lines(folder: Path, arms: Sequence[Arm], identities: Sequence[Identity]) -> Iterator[str]:
    """Make one line for all arms that go beside others, or replace them, for the same reason."""
    apart: dict[tuple[str, bool], dict[str, None]] = {}
    for arm, identity in zip(arms, identities, strict=True):
        there = identity_in(folder / arm.name)
        if there and not there.same_results(identity):
            apart.setdefault((_apart(there, identity), arm.place != arm.name), {})[arm.place] = None
    for (why, beside), places in apart.items():
        first, *more = places
        others = f" and {len(more)} more" if more else ""
        where = (
            f"go to {first}{others + ' beside it' if more else ''}; --replace puts them in their place"
            if beside
            else f"replace them in {first}{others}"
        )
        yield f"{folder} holds results {why} {where}"


def _apart(there: Identity, here: Identity) -> str:
    """Describe how existing results differ from the requested ones."""
    differing = there.differences(here) if there.settings else {}
    if not differing:
        what = " and ".join(
            _OTHER.get(name, f"another source of {name}") for name in there.changed_dependencies(here)
        )
        return f"of {what or 'other weights, data or another version of the lab'}; those of now"
    theirs, ours = ({name: values[side] for name, values in differing.items()} for side in (0, 1))
    return f"with {_settings(theirs)}; those with {_settings(ours)}"


def _settings(values: Mapping[str, Any]) -> str:
    shown = [f"{name}={value}" for name, value in list(values.items())[:_SHOWN]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more settings" if more > 0 else "")
