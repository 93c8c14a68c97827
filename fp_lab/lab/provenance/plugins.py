"""Identity of plugins: a run's key has the source of those that it uses, so a changed one is another run."""

from collections.abc import Iterator, Mapping

from fp_data.worlds import WORLDS
from fp_lab.backbones.protocol import BACKBONES
from fp_lab.codecs.protocol import CODECS
from fp_lab.flow.history_sources import HISTORY_SOURCES
from fp_lab.flow.solvers import SOLVERS
from fp_lab.lab.config import ExperimentConfig
from fp_lab.packing.context import IMPORTANCES, PACKERS
from fp_lab.recipe.orders import ORDERS
from fp_lab.registry import foreign_module, source_sha256

MEASURING = ("world", "codec")
"""Kinds that scores of the true videos depend on."""
SAMPLING = ("solver",)
"""Kinds that sampling alone depends on: the trained model is taken over when one changes."""


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
