"""Implementations by name, one registry per kind, and the plugins that add to them (standard library only).

A plugin is a Python module that registers implementations when it is imported::

    from fp_lab import SOLVERS

    @SOLVERS.register("midpoint")
    def midpoint(velocity, x, sigmas): ...

It is named in a config (``plugins: [my.module]``), on the command line (``fp-lab --plugin my.module``), or
found as an entry point in the group ``fp_lab.plugins`` of an installed package.
"""

import hashlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, wraps
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

_REGISTERING: list[str] = []  # modules that have registered something, once for each

Implementation = TypeVar("Implementation")
Registered = TypeVar("Registered")


class Registry(Mapping[str, Implementation]):
    """Implementations of one kind by name.

    Args:
        kind: what they are, for messages, such as ``solver``.
        built_in: names of built-in ones, valid and taken before the module that registers them is imported.
        reserved: pattern of further names that mean something already.
        check: raises a ValueError with the reason where something can be no implementation; by default all
            that can be called are.
    """

    def __init__(
        self,
        kind: str,
        built_in: Iterable[str] = (),
        reserved: str = "",
        check: Callable[[Any], None] | None = None,
    ) -> None:
        self.kind = kind
        self._built_in = tuple(built_in)
        self._reserved, self._check = re.compile(reserved), check or _require_callable
        self._known: dict[str, Implementation] = {}

    def __getitem__(self, name: str) -> Implementation:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Add an implementation under a name, as a decorator.

        What goes wrong in a function from outside carries a note that names it.

        Raises:
            ValueError: no name of lower-case letters, digits and underscores, one that is taken, or what
                cannot be an implementation.
        """
        if not isinstance(name, str):
            raise ValueError(
                f'{self.kind}: got {name!r} for a name, expected a text: .register("my_{self.kind}")'
            )
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{self.kind}: got the name {name!r}, expected lower-case letters, digits and underscores "
                "that begin with a letter, as it becomes part of the names of runs"
            )
        if self._reserved.fullmatch(name):
            raise ValueError(
                f"{self.kind}: got the name {name!r}, which means something else; choose another"
            )

        caller = sys._getframe(1).f_globals.get("__name__", "")

        def add(implementation: Registered) -> Registered:
            note_registering(caller)  # not where it is defined: a compression is a text
            known: Any = self._known.get(name)
            where = module_of(implementation)
            try:
                self._check(implementation)
            except ValueError as error:
                raise ValueError(f"{self.kind} {name!r}: {error}") from error
            # a module that is imported again, as by a notebook's reload, replaces what it registered
            again = known is None or foreign_module(known) == where
            built_in = name in self._built_in and foreign_module(implementation)
            if built_in or (not again and known != implementation):
                owner = "fp_lab" if built_in else getattr(known, "__module__", known)
                raise ValueError(f"{self.kind} {name!r}: the name is taken, by {owner}; choose another one")
            stored: Any = implementation
            if inspect.isfunction(implementation) and foreign_module(implementation):
                stored = _noted(implementation, f"{self.kind} {name!r} of {where}")
            self._known[name] = stored
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


def _require_callable(implementation: Any) -> None:
    if not callable(implementation):
        raise ValueError(f"got {implementation!r}, expected a function or a class")


def module_of(implementation: Any) -> str:
    """Return the name of the module that defines a class or function."""
    return str(getattr(implementation, "__module__", type(implementation).__module__))


def foreign_module(implementation: Any) -> str | None:
    """Return the module that defines a class or function; None for those of this project."""
    module = module_of(implementation)
    return None if module.partition(".")[0] in (*_OWN, "builtins") else module


def _noted(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Add a note to what a function raises, of what it was raised in."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Exception as error:
            error.add_note(f"in {what}")
            raise

    return call


def message_of(error: BaseException) -> str:
    """Return the message of an error with its notes."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])


@cache
def source_sha256(module: str) -> str:
    """sha256 of a plugin's source: of all Python files of its package, or of the file of a module alone.

    It is read once per process, for a plugin when it is imported.

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


def note_registering(module: str) -> None:
    """Note that a module has registered something, for `require_registering`."""
    _REGISTERING.append(module)


def require_registering(names: Iterable[str], elsewhere: Callable[[], Iterable[Any]] = tuple) -> None:
    """Check that imported plugins have registered something: another module is named by mistake.

    Args:
        names: plugins, as for `load_plugins`.
        elsewhere: returns implementations that no `Registry` holds; called where it is needed.

    Raises:
        ValueError: one has registered nothing, neither in the module nor in its package.
    """
    for name in names:
        module = _installed().get(name, name)
        if not _registers(module, _REGISTERING) and not _registers(module, map(module_of, elsewhere())):
            raise ValueError(
                f"plugins: got {name!r}, which registers nothing: expected a module that does so when it is "
                'imported, such as by @SOLVERS.register("mine"); correct the name, or leave it out'
            )


def _registers(module: str, registering: Iterable[str]) -> bool:
    """Whether a module, or another one of its package, is among those from outside."""
    package = module.partition(".")[0]
    return package not in _OWN and any(known.partition(".")[0] == package for known in registering)


def plugin_names(value: Any) -> tuple[str, ...]:
    """Return the plugins that a file or a command line names.

    Raises:
        ValueError: this is no list of names.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"plugins: got {value!r}, expected a list of modules")
    return tuple(value)


def require_plugins(names: Any, needed_by: str) -> None:
    """Check that modules are imported that a stored model needs.

    They are not imported here: a folder of weights, which may come from anywhere, does not choose what code
    runs.

    Args:
        names: list of modules, as a file has it.
        needed_by: the file that names them, for the message.

    Raises:
        ValueError: one is not imported, nor an installed plugin, or this is no list of modules.
    """
    try:
        modules = plugin_names(names)
    except ValueError as error:
        raise ValueError(f"{needed_by}: {error}") from error
    load_plugins()
    if missing := [name for name in modules if name not in sys.modules]:
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
    if not isinstance(module, str) or not _MODULE.fullmatch(module):
        raise ValueError(f"plugins: got {name!r}, expected the name of a module, such as my_package.orders")
    if module.endswith(".py"):
        raise ValueError(f"plugins: got {name!r}, expected the name of a module; leave off .py: {name[:-3]}")
    # last, so that a file in the current folder hides no installed module
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    before = len(_REGISTERING)
    try:
        importlib.import_module(module)
        source_sha256(module)
    except (Exception, SystemExit) as error:  # whatever a plugin does wrong, the user learns which one it was
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        if missing:
            raise ValueError(
                f"plugins: got {name!r}, but there is no such module: expected one that is installed, lies "
                f"on PYTHONPATH or in the current folder, or the entry point of an installed package"
            ) from error
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"plugins: {name} cannot be imported: {type(error).__name__}: {error} "
            f"({place.filename}, line {place.lineno})"
        ) from error
    if len(_REGISTERING) > before:  # also one that only imports others that do
        note_registering(module)
