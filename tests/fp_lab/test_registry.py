"""Registries and plugins, with modules written here."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fp_data.worlds import WORLDS
from fp_lab import (
    BACKBONES,
    COMPRESSIONS,
    HISTORY_SOURCES,
    IMPORTANCES,
    ORDERS,
    SOLVERS,
    Call,
    FramePackModel,
    Section,
    TinyDiT,
    TinyDiTConfig,
    parse,
    plan,
)
from fp_lab.checks.plain import from_plain
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.lab.config import load
from fp_lab.lab.provenance.inputs import read_inputs
from fp_lab.lab.provenance.plugins import plugins_used
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.context import PACKERS, ContextConfig, ImportanceConfig
from fp_lab.packing.importance import importance_of
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe.orders import check_sections
from fp_lab.registry import VARIABLE, Registry, load_plugins, message_of, source_sha256
from fp_lab.training.history import TrainingStep, make_source
from fp_lab.training.history.source import draw_videos
from fp_lab.training.objective import ObjectiveConfig
from tiny_rollout import model_for

ORDER = """
from fp_lab import ORDERS, Call

@ORDERS.register("{name}")
def order(gaps, recipe):
    return {calls}
"""
BACKWARDS = "[Call((f,)) for gap in gaps for f in reversed(gap)]"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what is registered and imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")  # set, so that what is added to it is taken back
    monkeypatch.setattr(sys, "path", [*sys.path])
    before, orders, packers = set(sys.modules), dict(ORDERS), dict(PACKERS)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    ORDERS._known, PACKERS._known = orders, packers
    plan.cache_clear()
    source_sha256.cache_clear()


def write(folder: Path, module: str, text: str) -> None:
    (folder / f"{module}.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", ["", "Big", "a b", "../x", "ünder", "1st"])
def test_names_are_those_that_folders_and_overrides_can_hold(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        Registry[str]("thing").register(name)


def test_a_name_is_taken_once_but_by_the_module_that_has_it() -> None:
    with pytest.raises(ValueError, match="released"):
        COMPRESSIONS.register("released")("f1k1")
    assert COMPRESSIONS["released"] == "f16k4f2k2f1k1"
    with pytest.raises(ValueError, match="inverted"):
        ORDERS.register("inverted")(lambda gaps, recipe: [])
    things: Registry[object] = Registry("thing", built_in=("own",))  # whose module nobody has imported yet
    with pytest.raises(ValueError, match=r"'own'.*taken"):
        things.register("own")(lambda: None)
    assert not things
    for _ in range(2):  # a notebook that runs its cell again

        @things.register("mine")
        class Mine: ...

    assert things["mine"] is Mine


@pytest.mark.parametrize(
    ("registry", "name", "what"),
    [
        (ORDERS, "forward", lambda gaps, recipe: []),
        (ORDERS, "bisect", lambda gaps, recipe: []),
        (COMPRESSIONS, "rate2", "f4k2f1k1"),
        (COMPRESSIONS, "f4", "f4k2f1k1"),
        (COMPRESSIONS, "mine", "f4q2"),
        (COMPRESSIONS, "mine", 7),
        (SOLVERS, "mine", "text"),
        (BACKBONES, "mine", 3),
    ],
)
def test_what_could_never_be_used_is_refused_when_it_is_registered(
    registry: Registry[Any], name: Any, what: Any
) -> None:
    before = dict(registry)
    with pytest.raises(ValueError, match=f"^{registry.kind}"):
        registry.register(name)(what)
    assert dict(registry) == before


def test_what_goes_wrong_in_a_function_of_a_plugin_names_it(here: Path) -> None:
    write(
        here,
        "odd",
        "from fp_lab import SOLVERS\n@SOLVERS.register('odd')\ndef odd(v, x, s):\n    return 1 / 0",
    )
    known = dict(SOLVERS)
    try:
        load_plugins(["odd"])
        with pytest.raises(ZeroDivisionError) as told:
            SOLVERS["odd"](None, None, None)  # type: ignore[arg-type]
    finally:
        SOLVERS._known = known
    assert "solver 'odd' of odd" in message_of(told.value)


def test_an_unknown_name_is_told_with_the_known_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^sampling\.solver\.name: got 'heunn'.* mean 'heun'"):
        SolverConfig(name="heunn")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["no_such"], "no_such"),
        (["../x"], "../x"),
        (["/tmp/x.py"], "/tmp/x.py"),
        (["broken"], "ZeroDivisionError"),
        (["needs"], "no_such_package"),
        (["leaves"], "SystemExit"),
        (["fine.py"], "leave off .py: fine"),
    ],
)
def test_plugins_that_cannot_be_imported_are_named(here: Path, names: list[str], expected: str) -> None:
    write(here, "broken", "1 / 0")
    write(here, "needs", "import no_such_package")
    write(here, "leaves", "import sys\nsys.exit(0)")
    with pytest.raises(ValueError, match=f"^plugins: .*{re.escape(expected)}"):
        load_plugins(names)


@pytest.mark.parametrize("name", ["os", "textwrap", "empty", "fp_lab"])
def test_a_module_that_registers_nothing_is_no_plugin(here: Path, name: str) -> None:
    write(here, "empty", "x = 1\n")
    with pytest.raises(ValueError, match=rf"plugins: got '{name}'.*registers nothing.*when it is imported"):
        load("base", [f"plugins=[{name}]"])


def test_what_a_plugin_registers_may_be_of_any_kind_or_of_another_module(here: Path) -> None:
    compression = "from fp_lab import COMPRESSIONS\nCOMPRESSIONS.register('short_here')('f4k2f1k1')\n"
    world = (
        "from fp_data.worlds import register_world\n"
        "@register_world('here')\ndef render(config, seeds):\n    return None\n"
    )
    write(here, "texts_here", compression)
    write(here, "worlds_here", world)
    write(here, "both_here", "import more_here\n")
    write(here, "more_here", compression.replace("short_here", "shorter_here"))
    known, worlds = dict(COMPRESSIONS), dict(WORLDS)
    try:
        for name in ("texts_here", "worlds_here", "both_here"):
            assert load("base", [f"plugins=[{name}]"]).plugins == (name,)
    finally:
        COMPRESSIONS._known = known
        WORLDS.clear()
        WORLDS.update(worlds)


@pytest.mark.parametrize("value", ["my_lab", 3, [3], {"a": 1}])
def test_plugins_of_a_config_are_a_list_of_names(here: Path, value: object) -> None:
    (here / "arm.yaml").write_text(f"recipe: g9\nplugins: {value}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="plugins: got"):
        load(here / "arm.yaml")


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ("[]", "frame 1"),
        ("[Call(tuple(gap)) for gap in gaps] * 2", "section 2: got target 1,"),
        ("[Call(tuple(gap)[::-1]) for gap in gaps]", "ascending"),
        ("[Call(tuple(gap) + (99,)) for gap in gaps]", "target 99"),
        ("[Call(tuple(gap)) for gap in gaps] + [Call(())]", "ascending"),
        ("[Call(tuple(gap)) for gap in gaps]", "9 frames"),
        ("[Call((f,), 3) for gap in gaps for f in gap]", "prompt 3"),
        ("[tuple(gap) for gap in gaps]", "Call"),
        ("None", "TypeError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_order_from_outside_makes_every_frame_once(here: Path, calls: str, expected: str) -> None:
    write(here, "orders_here", ORDER.format(name="odd", calls=calls))
    load_plugins(["orders_here"])
    with pytest.raises(ValueError, match="order 'odd'") as told:
        plan(parse("td_f1k1_g3"), 10, fill="odd")
    assert expected in str(told.value)


def test_an_order_from_outside_is_a_part_like_the_others_and_belongs_to_the_arm(here: Path) -> None:
    write(here, "orders_here", ORDER.format(name="backwards", calls=BACKWARDS))
    parts = ["plugins=[orders_here]", "compression=released", "order=backwards"]
    (here / "arm.yaml").write_text("base: base\n", encoding="utf-8")
    config = load(here / "arm.yaml", parts)
    assert (config.recipe, config.sampling.fill) == ("td_f16k4f2k2f1k1_g9", "backwards")
    made = [section.targets for section in plan(config.parsed_recipe, 4, fill=config.sampling.fill)]
    assert made == [(3,), (2,), (1,)]
    again = load(here / "arm.yaml", ["recipe=td_f16k4f2k2f1k1_g9", "sampling.fill=backwards"])
    assert again.sampling == config.sampling


def test_a_key_holds_the_source_of_the_plugins_that_are_used_and_of_no_other(here: Path) -> None:
    (here / "arm.yaml").write_text("base: base\nplugins: [orders_here]\n", encoding="utf-8")
    write(here, "orders_here", ORDER.format(name="backwards", calls=BACKWARDS))
    plain = load(here / "arm.yaml", ["compression=released", "order=vanilla"])
    odd = load(here / "arm.yaml", ["compression=released", "order=backwards"])
    assert not plugins_used(plain)
    assert set(plugins_used(odd)) == {"order backwards"}
    without = load("base", ["compression=released", "order=vanilla"])
    assert stage_keys(plain) == stage_keys(without)
    before = stage_keys(odd)
    write(here, "orders_here", ORDER.format(name="backwards", calls=BACKWARDS) + "# another source\n")
    assert stage_keys(odd) == before  # what was imported counts
    source_sha256.cache_clear()  # as in another process
    after = stage_keys(odd)
    assert after.train != before.train
    assert after.truth == before.truth  # the true videos do not depend on an order
    assert stage_keys(plain) == stage_keys(without)
    assert read_inputs(odd).digest != read_inputs(plain).digest


def test_an_edited_solver_trains_nothing_again_and_is_named_as_the_difference(here: Path) -> None:
    (here / "arm.yaml").write_text("base: base\nplugins: [odd]\n", encoding="utf-8")
    solver = "from fp_lab import SOLVERS\n@SOLVERS.register('odd')\ndef odd(v, x, s):\n    return x\n"
    write(here, "odd", solver)
    known = dict(SOLVERS)
    try:
        config = load(here / "arm.yaml", ["recipe=g9", "sampling.solver.name=odd"])
        before = stage_keys(config)
        write(here, "odd", f"{solver}# another\n")
        source_sha256.cache_clear()
        after = stage_keys(config)
    finally:
        SOLVERS._known = known
    assert (after.train, after.truth) == (before.train, before.truth)
    assert after.sample != before.sample
    changed = [name for name in after.made_of if after.made_of[name] != before.made_of[name]]
    assert changed == ["plugin solver odd"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda latents, generator: latents[:, :, 1:], "shape"),
        (lambda latents, generator: latents / 0, "finite"),
    ],
)
def test_a_history_of_another_length_or_without_values_is_refused(
    source: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HISTORY_SOURCES._known, "odd", source)
    objective = ObjectiveConfig(history=HistoryConfig(source="odd"))
    model, plan = model_for("g3"), PlannedSections(parse("g3"))
    step = TrainingStep(model, torch.zeros(1, 2, 3, 4, 4), [""], None, plan, objective, torch.Generator())
    with pytest.raises(ValueError, match=f"'odd'.*{expected}"):
        draw_videos(make_source(objective.history), step)


def test_an_importance_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = lambda latents, sections, config: torch.full((1, 4), float("nan"))  # noqa: E731
    monkeypatch.setitem(IMPORTANCES._known, "odd", nothing)
    with pytest.raises(ValueError, match="'odd': got nan for known frame 0"):
        importance_of(torch.zeros(1, 2, 4, 4, 4), [Section((1,), frozenset({0}))], ImportanceConfig("odd"))


def test_a_model_names_the_module_of_its_packer_and_does_not_import_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
from fp_lab import PACKERS, ContextPacker

@PACKERS.register("mine")
class Mine(ContextPacker):
    pass
"""
    write(here, "packers_here", text)
    load_plugins(["packers_here"])
    recipe = parse("td_f1k1_g3")
    backbone = TinyDiT(from_plain(TinyDiTConfig, {"width": 32, "depth": 1}))
    model = FramePackModel(backbone, kernels_of(recipe), "velocity", ContextConfig(packer="mine"))
    model.save(here / "model")
    again = FramePackModel.load(here / "model")
    assert type(again.packer).__name__ == "Mine"
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    del sys.modules["packers_here"]  # as in another process that was not told of it
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(ValueError, match="packers_here") as told:
        FramePackModel.load(here / "model")
    assert str(here / "model") in str(told.value)
    assert "packers_here" not in sys.modules


SECTION = Section((1, 2), frozenset({0}))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ([], "frame 1"),
        ([SECTION], "frame 3"),
        ([SECTION, SECTION], "target 1"),
        ([SECTION, Section((3,), frozenset({0, 4}))], "known frame 4"),
        ([Section((2, 1), frozenset())], "ascending"),
        ([SECTION, Section((3,), frozenset(), 1)], "prompt 1"),
        ([SECTION, Section((3, 4), frozenset())], "target 4"),
    ],
)
def test_a_plan_from_outside_makes_a_video_whole(sections: list[Section], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_sections(sections, 4, {0})


def test_every_plan_of_a_recipe_is_whole() -> None:
    for name in ("g3", "td_f1k1_g3", "f1k1_x_g3_f1k1_td", "td_f1k1_g3_x_f1k1"):
        check_sections(plan(parse(name), 20), 20, {0})
    assert Call((1,)).prompt == 0
