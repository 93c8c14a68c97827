"""Engines by their name, as the command line has them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from fp_lab.lab.grids.engines.engine import Engine
from fp_lab.lab.grids.engines.in_process import InProcess


def make_engine(name: str, workers: int | None, cache: Path, options: Mapping[str, str]) -> Engine:
    """An engine.

    Args:
        name: one of `ENGINES`.
        workers: arms at once; None: the engine's usual number.
        cache: what arms have in common on disk.
        options: of the engine.

    Raises:
        ValueError: an unknown engine or option, or a package that is missing.
    """
    if name not in ENGINES:
        raise ValueError(f"--engine: got {name!r}, expected one of {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise ValueError(f"--workers: got {workers}, expected at least 1")
    return ENGINES[name](workers, cache, options)


def _local(workers: int | None, cache: Path, options: Mapping[str, str]) -> Engine:
    if options:
        raise ValueError(f"the engine local has no options, got {', '.join(options)}")
    if workers in (None, 1):
        return InProcess(cache)
    from fp_lab.lab.grids.engines.processes import Local

    assert workers is not None
    return Local(workers, cache)


def _ray(workers: int | None, cache: Path, options: Mapping[str, str]) -> Engine:
    from fp_lab.lab.grids.engines.ray import RayCluster

    return RayCluster(workers, options)


def _slurm(workers: int | None, cache: Path, options: Mapping[str, str]) -> Engine:
    from fp_lab.lab.grids.engines.slurm import Slurm

    return Slurm(workers, cache.parent / "slurm", options)


ENGINES: dict[str, Callable[[int | None, Path, Mapping[str, str]], Engine]] = {
    "local": _local,
    "ray": _ray,
    "slurm": _slurm,
}
