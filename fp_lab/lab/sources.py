"""The source code that a stage's result depends on: what its modules import (standard library only)."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = ("fp_lab", "fp_data", "fp_metrics", "fp_carriers")


@dataclass(frozen=True)
class Sources:
    """Where the code of a stage begins and ends.

    Attributes:
        entries: the modules that do the stage.
        without: modules that are not followed, as they do not change what the stage makes.
    """

    entries: tuple[str, ...]
    without: tuple[str, ...] = ()


_SETTINGS = "fp_lab.lab.config"  # what the settings say is hashed itself
STAGE_SOURCES = {
    "train": Sources(("fp_lab.lab.train",), (_SETTINGS, "fp_lab.lab.track", "fp_lab.lab.reporter")),
    "sample": Sources(("fp_lab.lab.sample",), (_SETTINGS, "fp_lab.lab.reporter")),
    "truth": Sources(("fp_lab.lab.evaluate", "fp_data.worlds", "fp_data.clips"), (_SETTINGS,)),
}


@cache
def stage_digest(stage: str) -> str:
    """sha256 of the code behind a stage; comments, docstrings and layout do not count."""
    total = hashlib.sha256()
    for module, path in imported_by(STAGE_SOURCES[stage]).items():
        total.update(f"{module} {_read(path).digest}\n".encode())
    return total.hexdigest()


def imported_by(sources: Sources) -> dict[str, Path]:
    """The entries and the modules of `PACKAGES` that they import, directly or not, sorted by name.

    Raises:
        ValueError: there is no such module.
    """
    for entry in sources.entries:
        if _file(entry) is None:
            raise ValueError(f"no module {entry} in {', '.join(PACKAGES)}")
    found: dict[str, Path] = {}
    waiting = list(sources.entries)
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is None or module in found or any(_inside(module, place) for place in sources.without):
            continue
        found[module] = path
        waiting += [*_read(path).imports, *([module.rpartition(".")[0]] if "." in module else [])]
    return dict(sorted(found.items()))


def _inside(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


@cache
def _file(module: str) -> Path | None:
    """The file of a module of ours, found without importing it; None for other names."""
    package, *names = module.split(".")
    if package not in PACKAGES:
        return None
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*names)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class _Read:
    imports: tuple[str, ...]
    digest: str


@cache
def _read(path: Path) -> _Read:
    """What a file imports of ours, anywhere in it, and the sha256 of its code.

    A stub beside it, which tells what a package imports when it is asked for, counts as part of it.
    """
    total, names = hashlib.sha256(), list[str]()
    for file in (path, path.with_suffix(".pyi")):
        if file.is_file():
            tree = ast.parse(file.read_bytes(), str(file))
            names += _imported(tree, path)
            total.update(ast.dump(tree).encode())
    return _Read(tuple(name for name in names if name.partition(".")[0] in PACKAGES), total.hexdigest())


def _imported(tree: ast.Module, path: Path) -> Iterator[str]:
    """Names that a tree imports, whose docstrings are taken away on the way.

    Of ``from a import b`` both ``a`` and ``a.b`` are told: which one is a module, `_file` knows.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = _package(path).split(".")[: 1 - node.level or None] if node.level else []
            place = ".".join([*above, *([node.module] if node.module else [])])
            yield from (place, *(f"{place}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = _without_docstring(node.body)


def _package(path: Path) -> str:
    """The package that a file is in, dotted."""
    names: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if told else body
