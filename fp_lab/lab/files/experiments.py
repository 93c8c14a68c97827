"""Locations of experiment files, in a source checkout and in a wheel (standard library only)."""

from difflib import get_close_matches
from pathlib import Path

import fp_lab

SUFFIX = ".yaml"


def experiments_folder() -> Path:
    """Folder of the YAML files that come with fp_lab."""
    package = Path(fp_lab.__file__).parent
    checkout = package.parent / "experiments"
    return checkout if (checkout / f"base{SUFFIX}").is_file() else package / "experiments"


def find_experiment(name: str | Path, beside: Path | None = None) -> Path:
    """Find an experiment file.

    Args:
        name: path, or name in `experiments_folder` or its ``grids``; with or without .yaml.
        beside: file that refers to this one; its folder is searched first.

    Raises:
        ValueError: there is no such file (the message lists the available ones), it is `beside` itself, or
            the path has no name, such as ``.``.
    """
    path, shipped = _path(name), experiments_folder()
    if not path.name:
        raise ValueError(
            f"experiment file: got {str(name)!r}, expected a file, or a name under experiments/ such as base"
        )
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("experiments",) else path
    own = beside.parent / path if beside else path
    itself = False
    for place in (own, shipped / inside, shipped / "grids" / inside):
        for candidate in (place, place.with_name(f"{place.name}{SUFFIX}")):
            if candidate.is_file():
                if beside is None or not candidate.samefile(beside):
                    return candidate
                itself = True
    if itself:
        raise ValueError(f"{beside}: base: got {name}, which is this file itself; expected another one")
    available = available_experiments()
    stems = {file.removesuffix(SUFFIX): file for file in available}
    stems |= {folder: folder for file in available if "/" in (folder := str(Path(file).parent))}
    asked = inside.with_suffix("") if inside.suffix == SUFFIX else inside
    close = get_close_matches(str(asked), stems, n=1) or [
        stem for stem in stems if get_close_matches(asked.name, [Path(stem).name], n=1)
    ]
    hint = f"; did you mean {stems[close[0]]}?" if close else "."
    listed = "".join(f"\n  {file}" for file in available)
    raise ValueError(f"no experiment file {name}{hint} In {shipped} there are:{listed}")


def find_grids(name: str | Path) -> tuple[Path, ...]:
    """Find grid files: the named one (see `find_experiment`), or those of a folder, sorted by name.

    Raises:
        ValueError: there is no such file or folder, or nothing in it.
    """
    if not str(name).strip():
        raise ValueError("grid: got an empty name, expected a grid file, or a folder of them such as .")
    try:
        return (find_experiment(name),)
    except ValueError:
        shipped = experiments_folder()
        for folder in (_path(name), shipped / name, shipped / "grids" / name):
            if files := tuple(sorted(folder.glob(f"*{SUFFIX}"))):
                return files
            if folder.is_dir():
                raise ValueError(f"no grid file in the folder {folder}, expected some *{SUFFIX}") from None
        raise


def _path(name: str | Path) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # of ~somebody
        raise ValueError(f"{name}: {error}") from None


def available_experiments() -> list[str]:
    """Names of the experiment files that come with fp_lab, relative to their folder."""
    folder = experiments_folder()
    found = (path.relative_to(folder).as_posix() for path in folder.rglob(f"*{SUFFIX}"))
    return sorted(name for name in found if not name.startswith("reference/"))
