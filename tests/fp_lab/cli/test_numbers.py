"""Every number of every command has a range, and none is NaN or infinite."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from fp_lab.cli import app


def options(group: typer.Typer, name: str = "") -> Iterator[tuple[str, Any, OptionInfo]]:
    """Flags behind their commands, with their types and what typer is told of them."""
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from options(inner.typer_instance, f"{name} {inner.name}".strip())
    for command in group.registered_commands:
        assert command.callback is not None
        own = f"{name} {command.name or command.callback.__name__}".strip()
        for key, hint in get_type_hints(command.callback, include_extras=True).items():
            for info in getattr(hint, "__metadata__", ()):
                if isinstance(info, OptionInfo):
                    yield f"{own} --{key}", get_args(hint)[0], info


def numbers(kind: type) -> dict[str, OptionInfo]:
    return {name: info for name, hint, info in options(app) if kind in _parts(hint)}


def _parts(hint: Any) -> set[Any]:
    return {hint}.union(*(_parts(part) for part in get_args(hint)))


def test_whole_numbers_have_a_least_value_and_a_largest() -> None:
    found = numbers(int)
    assert len(found) > 20
    assert [name for name, info in found.items() if info.min is None] == []
    beyond = {name: 2**32 - 1 if name.endswith("seed") else 10**9 for name in found}
    assert [name for name, info in found.items() if info.max is None or info.max > beyond[name]] == []


@pytest.mark.parametrize("name", sorted(numbers(float)))
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-3"])
def test_numbers_are_finite(name: str, text: str) -> None:
    *command, option = name.split(" ")
    flag = option.replace("_", "-")
    done = CliRunner().invoke(app, [*command, *_ARGUMENTS.get(" ".join(command), []), f"{flag}={text}"])
    assert done.exit_code == 2
    assert flag in done.output or option.removeprefix("--") in done.output


_ARGUMENTS = {"generate": ["--checkpoint=nowhere"], "data make": ["vizdoom"], "plan": ["base"]}


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_no_world_has_is_refused(seed: str) -> None:
    done = CliRunner().invoke(app, ["data", "render", f"--first-seed={seed}"])
    assert done.exit_code == 2
    assert "first-seed" in done.output
