"""A tiny experiment for each module of tests, in a folder of its own; a module may have another config."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures import tiny_config, tiny_experiment

if TYPE_CHECKING:  # slow to import
    from fp_lab.lab.config import ExperimentConfig
    from fp_lab.lab.materials.materials import Materials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the experiment's codec, base and ``tiny.yaml`` are, and the runs of a module."""
    return tiny_experiment(tmp_path_factory.mktemp("tiny")).parent


@pytest.fixture(scope="module")
def config(folder: Path) -> "ExperimentConfig":
    """The experiment's, unless a module has its own."""
    return tiny_config(folder)


@pytest.fixture(scope="module")
def materials(folder: Path) -> "Materials":
    """What the module's runs have in common."""
    from fp_lab.lab.materials.materials import Materials
    from fp_lab.lab.runtime.reporter import Reporter

    return Materials(folder / "cache", Reporter())
