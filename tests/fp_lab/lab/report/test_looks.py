"""How arms look: the colour, line and marker of each, in one comparison and across comparisons."""

from matplotlib.figure import Figure

from fp_lab.lab.report.plots.style import arm_line, legend_below, looks, paper
from fp_lab.lab.results.arms import Arm
from fp_lab.recipe import parse

RELEASED = "td_f16k4f2k2f1k1_g9"
MEMORY = (
    *("g9", "td_f1k1_g9", "td_f2k1h8w8f1k1h8w4f1k1h4w4f1k1h4w2f1k1_g9", "td_f3k1h8w8f3k1h4w4f1k1_g9"),
    *("td_f8k8f4k4f2k2f1k1_g9", RELEASED, "td_f2k2f1k1h4w4f1k1h4w2f1k1_g9", "td_f20k4f1k1_g9"),
    *("td_f2k2f1k1h4w4f2k1h4w2f1k1_g9", "tc_f16k4f2k2f1k1_g9", "f1k1_x_f16k4f2k2f1k1_g9"),
    *(f"{RELEASED}--context.importance.kind=similarity", "f1k1_x_g9_f1k1f2k2f16k4_td", "td_f19k1_g9"),
    "td_f19k1_g9--evaluation.shuffled=True",
)
"""The arms of the grid ``memory``."""


def arms(*names: str) -> list[Arm]:
    return [Arm(name, parse(name.partition("--")[0]), name, None, (0,), ()) for name in names]


def test_both_halves_of_a_report_share_the_colour_of_the_arm_they_share() -> None:
    memory = looks(arms("g9", "td_f19k1_g9", "td_f1k1_g9", MEMORY[2], RELEASED))
    drift = looks(arms("g9", RELEASED, f"{RELEASED}_x_f1k1", "f1k1_x_g9_f1k1f2k2f16k4_td"))
    both = memory | drift
    assert memory[RELEASED] == drift[RELEASED]
    assert len({look.colour for look in both.values()}) == len(both) == 7


def test_another_arm_changes_no_colour_and_neither_does_the_order() -> None:
    few = looks(arms("td_f19k1_g9", RELEASED))
    assert looks(arms(*reversed(list(few)))) == few
    more = looks(arms(f"{RELEASED}--context.amplify=True", "tc_f16k4f2k2f1k1_g9", "g9", *few))
    assert {name: more[name] for name in few} == few


def test_more_arms_than_colours_differ_in_markers() -> None:
    found = looks(arms(*MEMORY))
    assert len({(look.colour, look.marker) for look in found.values()}) == len(MEMORY) == 15


def test_a_legend_of_fifteen_arms_lies_below_the_panels_and_inside_the_picture() -> None:
    found = looks(arms(*MEMORY))
    with paper():
        figure = Figure(figsize=(9.8, 5), layout="constrained")
        panels = list(figure.subplots(2, 4).flat)
        label = "vanilla · released, importance.kind=similarity"
        legend_below(figure, [arm_line(look, label) for look in found.values()])
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= 0
    assert all(panel.get_tightbbox().y0 >= box.y1 for panel in panels)
    assert min(panel.bbox.height for panel in panels) > 100


def test_labels_wider_than_the_picture_go_on_below() -> None:
    label = "vanilla · released, " + "history.source=resampled, sampling.recency.beta=0.1, " * 3
    found = looks(arms(*MEMORY[:7]))
    with paper():
        figure = Figure(figsize=(5, 3), layout="constrained")
        panel = figure.subplots()
        legend_below(figure, [arm_line(look, label) for look in found.values()])
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert (box.x0, box.y0) >= (0, 0)
    assert box.x1 <= figure.bbox.width
    assert panel.get_tightbbox().y0 >= box.y1
    assert panel.bbox.height > 100
