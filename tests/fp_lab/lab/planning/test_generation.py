"""Videos of real models as they are planned: by hand, and against modules that are really there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fp_lab.backbones.diffusers.presets import MODELS
from fp_lab.lab.planning.generation import Generating, generation, sections_of
from fp_lab.lab.planning.memory import Hardware
from fp_lab.lab.planning.plan import plan
from fp_lab.lab.planning.tables import as_json, plan_tables
from fp_lab.lab.planning.trace import trace
from fp_lab.lab.tables import print_table
from fp_lab.lab.tables.table import cell_text
from small_models import TOKENS, real, small

CARD = Hardware(2, 24, tflops=100.0, utilisation=0.5)


@pytest.mark.parametrize(("name", "calls"), [("base", 10), ("hunyuan-video", 10), ("wan-1.3b", 20)])
def test_guidance_that_is_not_distilled_calls_twice(name: str, calls: int) -> None:
    model = small(name)
    cost = trace(model, TOKENS)
    made = generation(model, cost, 1e9, 10, CARD, Generating(10))
    assert (made.calls, made.flops) == (calls, calls * cost.flops)
    assert made.seconds == pytest.approx(made.flops / 50e12), "one card"
    assert made.minutes == pytest.approx([count * made.seconds / 60 for count in made.sections])
    assert Generating(10, guided=True).calls(model) == 20
    assert Generating(10, guided=False).calls(model) == 10


@pytest.mark.parametrize(
    ("name", "seconds", "sections"),
    [
        ("base", 5, 4),  # 145 frames, as the released code makes them
        ("base", 60, 50),
        ("wan-14b", 5, 2),  # 16 frames per second
        ("wan-14b", 60, 27),
    ],
)
def test_sections_are_whole(name: str, seconds: int, sections: int) -> None:
    assert sections_of(MODELS[name], seconds) == sections


def test_the_minutes_of_the_page_are_those_of_whole_sections() -> None:
    page = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.-]+)`.* \| (\d+) \| ([\d.]+) / (\d+) \|$", page, re.MULTILINE)
    assert {name for name, *_ in rows} == {"base", "hunyuan-video", "wan-1.3b", "wan-14b"}
    for name, seconds, short, long in rows:
        for minutes, length in ((short, 5), (long, 60)):
            made = sections_of(MODELS[name], length) * int(seconds) / 60
            assert float(minutes) == pytest.approx(made, rel=0.03), f"{name}, {length} s"


@pytest.mark.parametrize("name", ["base", "wan-1.3b"])
def test_memory_of_what_takes_turns(name: str) -> None:
    model, vae = small(name), 1000
    cost, module = trace(model, TOKENS), real(small(name))
    sizes = [sum(2 * p.numel() for p in block.parameters()) for block in module.blocks]
    whole = 2 * cost.parameters + cost.inference
    made = generation(model, cost, whole, vae, CARD, Generating())
    assert made.together == whole + vae
    assert made.parts == whole
    assert made.blocks == whole - sum(sizes) + 2 * max(sizes)
    large = generation(model, cost, whole, 2 * whole, CARD, Generating())
    assert large.parts == large.blocks == 2 * whole, "a VAE that is larger"
    shallow = replace(cost, blocks=cost.largest_block)
    assert generation(model, shallow, whole, vae, CARD, Generating()).blocks == whole, "one block is no two"


def test_a_solver_has_steps() -> None:
    with pytest.raises(ValueError, match="steps: got 0"):
        Generating(0)


def test_every_figure_is_readable_in_a_narrow_terminal() -> None:
    cards = Hardware(8, memory_gb=0.0075)
    plans = [plan(small("base"), recipe="td_f2k2f1k1_g3", pixels="64x96", frames=9, hardware=cards)]
    assert as_json(plans[0])["generation"]["minutes"] == plans[0].generation.minutes
    for width in (80, 100, 160):
        console = Console(width=width, force_terminal=True, color_system=None)
        for table in plan_tables(plans):
            with console.capture() as captured:
                print_table(console, table)
            shown = captured.get()
            assert "…" not in shown
            rows = [row.strip("│").split("│") for row in shown.splitlines() if row.startswith("│")]
            words = {cell.strip() for row in rows for cell in row}
            for line in table.lines:
                for column, cell in zip(table.columns, line.cells, strict=True):
                    assert cell_text(table, column, cell) in words
            for text in (table.lines[0].name, table.lines[0].order):
                found = ("".join(row[i] for row in rows).replace(" ", "") for i in (0, 1))
                assert any(text.replace(" ", "") in column for column in found)
