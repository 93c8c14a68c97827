"""Measured efficiency of arms: what is counted is checked by hand, what is timed by its identities."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fixtures import tiny_config
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.efficiency.arms import FULL_HISTORY, FULL_SEQUENCE, Side, full_history, full_sequence
from fp_lab.lab.efficiency.matmul import Product, block_products, multiplying
from fp_lab.lab.efficiency.measure import Efficiency, measure
from fp_lab.lab.efficiency.tables import efficiency_tables, ratio_table, write_efficiency
from fp_lab.lab.efficiency.workload import SECTIONS, Workload
from fp_lab.lab.grids.efficiency_arms import sides_of, sides_of_grid
from fp_lab.lab.grids.grid import Arm, Grid
from fp_lab.lab.grids.measure_efficiency import efficiency_of
from fp_lab.lab.planning.flops import forward_flops
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.packing.token_counts import context_tokens, kernel_tokens
from fp_lab.recipe import BASE, parse
from fp_lab.recipe.orders import plan

PACKED = "td_f2k2f1k1_g3"


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return Codec.load(folder / "codec")


def workload(folder: Path, codec: Codec, *overrides: str) -> Workload:
    return Workload(tiny_config(folder, overrides), codec)


@pytest.fixture(scope="module")
def measured(folder: Path, codec: Codec) -> Efficiency:
    config = tiny_config(folder)
    notes: list[int] = []

    class Listening(Reporter):
        def begin(self, stage: str, total: int) -> None:
            notes.append(total)

        def advance(self, done: int, note: str = "") -> None:
            notes.append(done)

    sides = (Side(PACKED, config), full_history(config), full_sequence(config))
    made = measure(
        sides,
        codec,
        rounds=2,
        memory_gb=0.01,
        reporter=Listening(),
    )
    assert notes == [9, *range(10)]
    return made


def test_arms_by_their_names(folder: Path) -> None:
    grid = folder / "grid.yaml"
    grid.write_text(
        "base: tiny\narms: [{recipe: g3}, {recipe: f1k1_x_g3_f1k1}]\nseeds: [0, 1]\n", encoding="utf-8"
    )
    sides = sides_of([str(grid), "g3"], ["training.batch=2"])
    assert [side.name for side in sides] == ["g3", "f1k1_x_g3_f1k1", FULL_HISTORY, FULL_SEQUENCE]
    assert [side.compared for side in sides] == [False, False, True, True]
    assert {side.config.training.batch for side in sides} == {2}


def test_a_baseline_and_the_default_are_arms_too() -> None:
    (causal, *_), (default, *others) = sides_of(["causal_attention"]), sides_of([])
    assert causal.config.context.attention == "block_causal"
    assert default.name == default.config.recipe == "td_f16k4f2k2f1k1_g9"
    assert [side.config.recipe for side in others] == ["f63k1_g9", "g63"]
    assert sides_of(["causal_attention"])[1].config.context.attention == "full"


def test_a_name_of_nothing_says_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"got 'td_f16k3_g9', expected .*grid"):
        sides_of(["td_f16k3_g9"])


def test_what_arms_are_compared_with_sees_everything(folder: Path) -> None:
    config = tiny_config(folder)
    assert parse(full_history(config).config.recipe) == parse("f9k1_g3")
    sequence = parse(full_sequence(config).config.recipe)
    (section,) = plan(sequence, config.data.frames)
    assert section.targets == tuple(range(1, config.data.frames))


@pytest.mark.parametrize(
    "recipe", [PACKED, "g3", "f1k1_x_g3_f1k1f2k2_td", "tc_f2k2f1k1_g2", "ta_f1k1_g3", "td_f1k1_g3_x_f1k1"]
)
def test_tokens_are_those_of_the_schedule(folder: Path, codec: Codec, recipe: str) -> None:
    work = workload(folder, codec, f"recipe={recipe}")
    parsed, frames = parse(recipe), work.config.data.frames
    sections = plan(parsed, frames)
    expected = [
        kernel_tokens(len(s.targets), BASE, 4, 4) + context_tokens(parsed, s, frames, 4, 4).total
        for s in sections
    ]
    if len(sections) <= SECTIONS:
        assert list(work.tokens) == expected
    assert work.tokens[-1] == expected[-1]
    assert work.tokens[work.fullest] == max(work.tokens)


def test_long_plans_are_thinned_out_evenly(folder: Path, codec: Codec) -> None:
    work = workload(folder, codec, "recipe=f9k1_g1")
    starts = [min(source.section.targets) for source in work.sources]  # type: ignore[union-attr]
    assert starts == [1, 4, 6, 9]


def test_causal_windows_and_codebooks_can_be_measured(folder: Path, codec: Codec) -> None:
    causal = workload(folder, codec, "recipe=td_f4k1_g3", "context.attention=block_causal")
    assert list(causal.tokens) == [4 * 4, 4 * 7, 4 * 7]  # windows of 1 + 3, 4 + 3 and 4 + 3 frames
    causal.step(1)
    discrete = workload(folder, codec, f"recipe={PACKED}+D4")
    discrete.step(0)
    assert discrete.sample().total > 0


def test_a_step_trains_and_averages(folder: Path, codec: Codec) -> None:
    work = workload(folder, codec)
    before = [p.detach().clone() for p in work.model.parameters()]
    work.step(0)
    work.step(1)
    after = list(work.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in after)
    moved = [(a - b).abs().sum() for a, b in zip(work._average, before, strict=True)]
    total = [(a - b).abs().sum() for a, b in zip(after, before, strict=True)]
    assert 0 < sum(moved) < sum(total)


def test_memory_of_a_step_is_state_and_activations(folder: Path, codec: Codec) -> None:
    size = ("model.base=null", "model.backbone.depth=6", "model.backbone.width=64", "data.train_videos=32")
    work = workload(folder, codec, *size, "training.batch=32")
    kept = work.activation_bytes()
    work.step(work.fullest)
    weights = 4 * work.parameters
    state = weights + weights + 2 * weights  # weights, averages, moments: gradients come as activations go
    assert work.peak_bytes() == pytest.approx(state + 32 * kept, rel=0.1)
    assert kept == pytest.approx(
        workload(folder, codec, *size, "training.batch=4").activation_bytes(), rel=0.05
    )


def test_products_of_a_block() -> None:
    backbone = TinyDiTConfig(width=64, mlp_ratio=3)
    products = block_products(backbone, 100)
    assert sum(p.flops for p in products) == 2 * 100 * 64**2 * (4 + 2 * 3)
    with FlopCounterMode(display=False) as counter:
        multiplying(products, torch.device("cpu"), torch.float32, times=3)()
    assert counter.get_total_flops() == 3 * sum(p.flops for p in products)
    assert Product(2, 3, 5).flops == 60


def test_figures_follow_from_what_was_timed(measured: Efficiency, folder: Path) -> None:
    for arm in measured.arms:
        assert arm.tokens_per_second == pytest.approx(2 * arm.tokens / arm.step_seconds)
        assert arm.seconds_per_1000 == pytest.approx(1000 * arm.step_seconds / 2)
        assert arm.large_share * measured.large_flops_per_second == pytest.approx(arm.flops_per_second)
        free = 0.01 * 2**30 - arm.state_bytes
        assert arm.largest_batch == max(0, int(free // arm.activation_bytes))
        assert arm.first_section_seconds > 0
    packed, history, sequence = measured.arms
    assert history.targets == 3
    assert sequence.targets == 9
    assert sequence.tokens == 9 * 4
    backbone = TinyDiTConfig(channels=4, width=32, depth=1, head_width=16)
    assert sequence.flops_per_second * sequence.step_seconds == pytest.approx(
        3 * 2 * forward_flops(backbone, 36)
    )
    sections = plan(parse(PACKED), 10)
    tokens = [12 + context_tokens(parse(PACKED), s, 10, 4, 4).total for s in sections]
    assert packed.tokens == fmean(tokens)
    assert packed.activation_bytes < history.activation_bytes
    assert packed.largest_batch > sequence.largest_batch


def test_a_load_that_grows_favours_no_arm(
    folder: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two equal arms on a machine that is slower at every step: one after the other they would differ."""
    config, order = tiny_config(folder), list[str]()
    sides = (Side("a", config), Side("b", replace(config, label="b")), full_sequence(config))

    def timed_step(self: Workload, index: int) -> float:
        order.append(self.config.label or "a")
        return 1.0 + 0.1 * len(order)

    monkeypatch.setattr(Workload, "timed_step", timed_step)
    one, other, _ = measure(sides, codec, rounds=2).arms
    steps = [order[0], *(name for before, name in pairwise(order) if name != before)]
    assert steps == ["a", "b", FULL_SEQUENCE, "b", "a"], "there and back"
    assert one.seconds_per_1000 == pytest.approx(other.seconds_per_1000)
    assert one.key == other.key


def test_a_grid_is_measured_once_for_its_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = tuple(Arm(PACKED, seed, tiny_config(folder, [f"seed={seed}"])) for seed in (0, 1))
    grid, asked = Grid("tiny", arms, ()), list[int]()

    def measured_once(*arguments: Any, **options: Any) -> Efficiency:
        asked.append(options["rounds"])
        return measure(*arguments, **options)

    monkeypatch.setattr("fp_lab.lab.grids.measure_efficiency.measure", measured_once)
    found = [efficiency_of(grid, folder / "grid") for _ in range(2)]
    assert asked == [2]
    assert found[0].keys() == {PACKED}
    assert found[1] == {}, "it was measured before"
    other = replace(arms[0], config=tiny_config(folder, ["training.batch=1"]))
    efficiency_of(replace(grid, arms=(other,)), folder / "grid")
    assert asked == [2, 2]


def test_real_transformers_are_left_to_the_plan(folder: Path) -> None:
    config = tiny_config(folder, [f"model.base={folder}"])
    with pytest.raises(ValueError, match="fp-lab plan"):
        sides_of_grid(Grid("real", (Arm("g3", 0, config),), ()))


def test_ratios_and_files(measured: Efficiency, tmp_path: Path) -> None:
    packed, history, sequence = measured.arms
    (line, brief) = ratio_table(measured).lines
    assert [cell.value for cell in line.cells] == [
        packed.largest_batch / history.largest_batch,
        history.seconds_per_1000 / packed.seconds_per_1000,
        packed.largest_batch / sequence.largest_batch,
        sequence.seconds_per_1000 / packed.seconds_per_1000,
    ]
    assert [cell.value for cell in brief.cells[2:]] == [64 / 16, 240 / 48]
    write_efficiency(measured, tmp_path)
    read = json.loads((tmp_path / "efficiency.json").read_text(encoding="utf-8"))
    assert read["arms"][0]["largest_batch"] == packed.largest_batch
    text = (tmp_path / "efficiency.md").read_text(encoding="utf-8")
    assert all(table.title in text for table in efficiency_tables(measured))
    assert "Measured on" in text
    assert "Computed" in text
    assert (tmp_path / "efficiency.csv").read_text(encoding="utf-8").count("\n") == 5


def test_arms_of_unlike_steps_are_refused(folder: Path, codec: Codec) -> None:
    config = tiny_config(folder)
    other = replace(config, training=replace(config.training, batch=1))
    with pytest.raises(ValueError, match=r"training.batch=2"):
        measure((Side("a", config), Side("b", other)), codec)
    with pytest.raises(ValueError, match=r"got 0 rounds .*expected"):
        measure((Side("a", config),), codec, rounds=0)
