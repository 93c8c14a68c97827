"""Who must not import whom: the contracts of pyproject.toml, and what they cannot express."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_contracts_of_the_rooms_are_kept() -> None:
    contracts = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))"
    done = run(sys.executable, "-c", contracts)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["fp_lab.recipe", "fp_lab.recipe.orders", "fp_lab.packing.assignment"])
def test_names_and_orders_import_the_standard_library_alone(module: str) -> None:
    graph = grimp.build_graph("fp_lab", include_external_packages=True, cache_dir=None)
    needed = graph.find_upstream_modules(module) | {module}
    outside = {name for name in needed if not name.startswith("fp_lab")}
    assert outside <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "module",
    [
        *("fp_lab", "fp_lab.recipe", "fp_lab.explain", "fp_lab.cli"),
        *("fp_lab.lab.grids.closing_lines", "fp_lab.lab.compare.comparison", "fp_lab.lab.claims"),
    ],
)
def test_what_only_reads_or_explains_is_cheap_to_import(module: str) -> None:
    heavy = "torch", "transformers", "mlflow", "diffusers", "lightning", "omegaconf", "matplotlib", "ray"
    loaded = f"import {module}, sys; print(*[m for m in {heavy} if m in sys.modules])"
    done = run(sys.executable, "-c", loaded)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
