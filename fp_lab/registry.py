"""Implementations by name, one registry per kind, and the plugins that add to them (standard library only).

A plugin is a Python module that registers implementations when it is imported::

    from fp_lab import SOLVERS

    @SOLVERS.register("midpoint")
    def midpoint(velocity, x, sigmas): ...

It is named in a config (``plugins: [my.module]``), on the command line (``fp-lab --plugin my.module``), or
found as an entry point in the group ``fp_lab.plugins`` of an installed package.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

GROUP = "fp_lab.plugins"
"""Group of entry points whose modules are plugins."""
VARIABLE = "FP_LAB_PLUGINS"
"""Environment variable with further modules, separated by commas; worker processes inherit it."""
_OWN = ("fp_lab", "fp_metrics", "fp_data")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

Implementation = TypeVar("Implementation")
Registered = TypeVar("Registered")


class Registry(Mapping[str, Implementation]):
    """Implementations of one kind by name.

    Args:
        kind: what they are, for messages, such as ``solver``.
        built_in: names of built-in ones, valid before the module that registers them is imported.
    """

    def __init__(self, kind: str, built_in: Iterable[str] = ()) -> None:
        self.kind = kind
        self._built_in = tuple(built_in)
        self._known: dict[str, Implementation] = {}

    def __getitem__(self, name: str) -> Implementation:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Add an implementation under a name, as a decorator.

        Raises:
            ValueError: no name of lower-case letters, digits and underscores, or one that is taken.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{self.kind}: got the name {name!r}, expected lower-case letters, digits and underscores "
                "that begin with a letter, as it becomes part of the names of runs"
            )

        def add(implementation: Registered) -> Registered:
            known: Any = self._known.get(name)
            # a module that is imported again, as by a notebook's reload, replaces what it registered
            again = known is None or foreign_module(known) == module_of(implementation)
            if not again and known != implementation:
                raise ValueError(
                    f"{self.kind} {name!r} of {module_of(implementation)}: {module_of(known)} has registered "
                    "that name; choose another one"
                )
            self._known[name] = implementation  # type: ignore[assignment]
            return implementation

        return add

    def require(self, setting: str, name: str) -> None:
        """Check that a setting names an implementation.

        Raises:
            ValueError: it does not; the message begins with the setting.
        """
        known = list(dict.fromkeys((*self._built_in, *self._known)))
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{setting}: got {name!r}, expected one of {', '.join(known)}, or what a plugin registers "
                f"as {self.kind} (plugins: [module]){hint}"
            )

    def choose(self, setting: str, name: str) -> Implementation:
        """Return the implementation that a setting names; raises as `require` does."""
        self.require(setting, name)
        return self._known[name]

    def name_of(self, implementation: Any) -> str | None:
        """Return the name of an implementation; None where it has none."""
        return next((name for name, known in self._known.items() if known is implementation), None)

    def foreign(self, name: str) -> str | None:
        """Return the module of an implementation from outside; None for built-in or unknown ones."""
        if name not in self._known:
            return None
        return foreign_module(self._known[name])


def module_of(implementation: Any) -> str:
    """Return the name of the module that defines a class or function."""
    return str(getattr(implementation, "__module__", type(implementation).__module__))


def foreign_module(implementation: Any) -> str | None:
    """Return the module that defines a class or function; None for those of this project."""
    module = module_of(implementation)
    return None if module.partition(".")[0] in (*_OWN, "builtins") else module


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import plugins: installed ones, those of the environment variable, and those named, which join them.

    Args:
        names: modules that can be imported, also from the current folder, or entry points by name.

    Raises:
        ValueError: one cannot be imported; the message says why.
    """
    installed = _installed()
    for name in installed:
        _import(name, installed[name])
    asked = tuple(dict.fromkeys((*shared_plugins(), *names)))
    for name in asked:
        if name not in installed:
            _import(name, name)
    if names:
        os.environ[VARIABLE] = ",".join(asked)


def require_plugins(names: Iterable[str], needed_by: str) -> None:
    """Check that modules are imported that a stored model needs.

    They are not imported here: a folder of weights, which may come from anywhere, does not choose what code
    runs.

    Args:
        names: modules.
        needed_by: the file that names them, for the message.

    Raises:
        ValueError: one is not imported, nor an installed plugin.
    """
    load_plugins()
    if missing := [name for name in names if name not in sys.modules]:
        raise ValueError(
            f"{needed_by}: needs {missing[0]}, which is not imported; if you trust it, name it as a plugin: "
            f"`plugins: [{missing[0]}]` in the config, or `fp-lab --plugin {missing[0]} ...`"
        )


def shared_plugins() -> tuple[str, ...]:
    """Return plugins that the environment names, for processes that do not inherit it."""
    return tuple(name for name in os.environ.get(VARIABLE, "").split(",") if name)


@cache
def _installed() -> Mapping[str, str]:
    """Modules of installed plugins by the name of their entry point."""
    return {point.name: point.module for point in metadata.entry_points(group=GROUP)}


def _import(name: str, module: str) -> None:
    if module in sys.modules:
        return
    if not _MODULE.fullmatch(module):
        raise ValueError(f"plugins: got {name!r}, expected the name of a module, such as my_package.orders")
    # last, so that a file in the current folder hides no installed module
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"plugins: {name} cannot be imported: {error}") from error
        raise ValueError(
            f"plugins: got {name!r}, but there is no such module: expected one that is installed or lies in "
            "the current folder, or the entry point of an installed package"
        ) from error
    except Exception as error:  # whatever a plugin does wrong, the user learns which one it was
        raise ValueError(f"plugins: {name} cannot be imported: {type(error).__name__}: {error}") from error
