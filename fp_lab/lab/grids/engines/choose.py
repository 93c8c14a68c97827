"""Choice of an engine by its name on the command line."""

from collections.abc import Callable, Mapping
from pathlib import Path

from fp_lab.lab.grids.engines.engine import Engine
from fp_lab.lab.grids.engines.in_process import InProcess


def make_engine(name: str, workers: int | None, cache: Path, options: Mapping[str, str]) -> Engine:
    """Make an engine.

    Args:
        name: name of the engine, one of `ENGINES`.
        workers: number of parallel arms; None: the engine's default.
        cache: folder of materials that arms share.
        options: options of the engine.

    Raises:
        ValueError: the engine or an option is unknown, or a package is missing.
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
    from fp_lab.lab.grids.engines.local import Local

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
