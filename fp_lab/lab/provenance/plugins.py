"""Identity of plugins: a run's key has the source of those that it uses, so a changed one is another run."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from fp_data.worlds import WORLDS
from fp_lab.backbones.protocol import BACKBONES
from fp_lab.codecs.protocol import CODECS
from fp_lab.flow.history_noise import HISTORY_SOURCES
from fp_lab.flow.solvers import SOLVERS
from fp_lab.lab.config import ExperimentConfig
from fp_lab.packing.context import IMPORTANCES, PACKERS
from fp_lab.recipe.orders import ORDERS
from fp_lab.registry import foreign_module

MEASURING = ("world", "codec")
"""Kinds that scores of the true videos depend on."""


def plugins_used(config: ExperimentConfig) -> Mapping[str, str]:
    """Return sha256 digests of the sources of all plugins that videos are made with, by kind and name.

    A compression is not among them, as the recipe has its levels, nor are metrics, see `measured_by`.
    """
    return {
        f"{kind} {name}": source_sha256(module) for kind, name, module in _named(config) if module is not None
    }


def _named(config: ExperimentConfig) -> Iterator[tuple[str, str, str | None]]:
    """Yield kind, name and module from outside of everything that a config chooses by name."""
    context, sampling = config.context, config.sampling
    for registry, name in (
        (ORDERS, sampling.fill or ""),
        (SOLVERS, sampling.solver.name),
        (IMPORTANCES, context.importance.kind),
        (PACKERS, context.packer),
        (HISTORY_SOURCES, config.objective.history.source),
        (BACKBONES, config.model.architecture),
        (CODECS, config.codec.source),
    ):
        yield registry.kind, name, registry.foreign(name)
    if config.data.kind == "world" and config.data.world.variant in WORLDS:
        yield "world", config.data.world.variant, foreign_module(WORLDS[config.data.world.variant])


@cache
def source_sha256(module: str) -> str:
    """sha256 of a plugin's source: of all Python files of its package, or of the file of a module alone.

    What was read when the plugin was imported is what counts, so a process asks once.

    Raises:
        ValueError: it has no source file, such as a notebook's cell.
    """
    top = sys.modules[module.partition(".")[0]]
    files = sorted(file for folder in getattr(top, "__path__", ()) for file in Path(folder).rglob("*.py"))
    if not files and top.__dict__.get("__file__"):
        files = [Path(str(top.__file__))]
    if not files:
        raise ValueError(
            f"plugins: {module} has no source file, expected a module in a file: results carry its digest"
        )
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
