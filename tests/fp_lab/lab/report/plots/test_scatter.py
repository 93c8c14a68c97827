"""Two figures against each other: what is drawn where."""

from pathlib import Path

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from fp_lab.lab.report.plots import scatter as scatter_module
from fp_lab.lab.report.plots.scatter import Axis, Point, scatter
from fp_lab.lab.report.plots.style import Look, png_size
from fp_metrics import Interval

NAN = float("nan")


def interval(mean: float, low: float = NAN, high: float = NAN) -> Interval:
    return Interval(mean, low, high, 0.95, 32, True)


POINTS = [
    Point("td_a", "first", interval(0.3, 0.2, 0.45), interval(0.1, 0.05, 0.2)),
    Point("td_b", "lost", interval(0.2), interval(NAN)),
    Point("td_c", "td_c", interval(0.1), interval(0.4, 0.3, 0.5)),
]
LOOKS = {
    point.name: Look(f"#00{index}000", "-", marker)
    for index, (point, marker) in enumerate(zip(POINTS, "osD", strict=True))
}
AXES = Axis("drift of identity", "less"), Axis("forgetting of the object", "less")
FLOOR = Point("truth", "truth", interval(0.01), interval(0.002))


def drawn(monkeypatch: pytest.MonkeyPatch, floor: Point | None = FLOOR) -> Figure:
    kept: list[Figure] = []

    def keep(figure: Figure, path: Path) -> Path:
        kept.append(figure)
        return path

    monkeypatch.setattr(scatter_module, "save", keep)
    scatter([POINTS], [AXES], LOOKS, Path("x.png"), "drift", floor=floor)
    return kept[0]


def test_one_point_per_arm_with_its_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = drawn(monkeypatch).axes
    bars = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    assert [one.get_label() for one in bars] == ["first", "td_c"]
    points = [one.lines[0] for one in bars]
    assert [(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in points] == [(0.3, 0.1), (0.1, 0.4)]
    assert [p.get_color() for p in points] == ["#000000", "#002000"]
    assert [p.get_marker() for p in points] == ["o", "D"], (
        "an arm keeps its marker where another is undefined"
    )
    across, along = (bar.get_segments()[0] for bar in bars[0].lines[2])
    assert across[:, 0].tolist() == pytest.approx([0.2, 0.45])
    assert along[:, 1].tolist() == pytest.approx([0.05, 0.2])
    assert len(bars[1].lines[2]) == 1, "no interval of drift, no bar"
    assert "identity" in axes.get_xlabel()
    assert "object" in axes.get_ylabel()


def test_undefined_arms_are_named_and_the_floor_is_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = drawn(monkeypatch).axes
    assert [text.get_text() for text in axes.texts] == ["undefined: lost"]
    lines = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in lines][:1] == [[0.01, 0.01]]
    assert [list(line.get_ydata()) for line in lines][1:] == [[0.002, 0.002]]
    (without,) = drawn(monkeypatch, floor=None).axes
    assert not [line for line in without.lines if line.get_linestyle() == "--"]


def test_a_picture_is_written_and_none_where_there_is_nothing_to_draw(tmp_path: Path) -> None:
    path = scatter([POINTS], [AXES], LOOKS, tmp_path / "x.png", "drift")
    assert min(png_size(path)) > 400
    with pytest.raises(ValueError, match="nothing to draw"):
        scatter([POINTS[1:2]], [AXES], LOOKS, tmp_path / "y.png", "drift")
    assert not (tmp_path / "y.png").exists()


def test_panels_share_their_arms_and_their_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(scatter_module, "save", lambda figure, path: kept.append(figure) or path)
    turned = [Point(p.name, p.label, p.y, p.x) for p in POINTS]
    scatter([POINTS, turned, POINTS, turned], [AXES] * 4, LOOKS, Path("x.png"), "drift")
    shown = [axes for axes in kept[0].axes if axes.axison]
    assert len(shown) == 4
    (legend,) = kept[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["first", "td_c"]
    assert shown[0].get_xlabel() == "drift of identity  (less is better)"


@pytest.mark.parametrize("panels", [1, 3])
def test_seven_undefined_arms_with_long_labels_leave_room_for_the_points(
    panels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panel that collapses is a warning, and warnings are errors."""
    label = "vanilla · released, history.source=resampled, sampling.recency.beta=0.1 "
    lost = [Point(f"td_{n}", f"{label}{n}", interval(0.2), interval(NAN)) for n in range(7)]
    kept: list[Figure] = []
    monkeypatch.setattr(scatter_module, "save", lambda figure, path: kept.append(figure) or path)
    scatter([[POINTS[0], *lost]] * panels, [AXES] * panels, LOOKS, Path("x.png"), "drift")
    (figure,) = kept
    figure.draw_without_rendering()
    for axes in figure.axes:
        (note,) = axes.texts
        assert note.get_text().replace("\n", " ").count("recency") == len(lost)
        assert note.get_window_extent().x1 <= figure.bbox.width
        assert axes.bbox.height > 100
