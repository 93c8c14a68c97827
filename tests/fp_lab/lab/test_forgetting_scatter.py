"""Forgetting against drift: what is drawn where."""

from pathlib import Path

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from fp_lab.lab.report import forgetting
from fp_lab.lab.report.forgetting import ForgettingPoint, forgetting_scatter
from fp_lab.lab.report.style import Look, png_size
from fp_metrics import Interval

NAN = float("nan")


def interval(mean: float, low: float = NAN, high: float = NAN) -> Interval:
    return Interval(mean, low, high, 0.95, 32, True)


POINTS = [
    ForgettingPoint("td_a", "first", interval(0.3, 0.2, 0.45), interval(0.1, 0.05, 0.2)),
    ForgettingPoint("td_b", "lost", interval(0.2), interval(NAN)),
    ForgettingPoint("td_c", "td_c", interval(0.1), interval(0.4, 0.3, 0.5)),
]
LOOKS = {point.name: Look(f"#00{index}000", "-") for index, point in enumerate(POINTS)}
FLOOR = ForgettingPoint("truth", "truth", interval(0.01), interval(0.002))


def drawn(monkeypatch: pytest.MonkeyPatch, floor: ForgettingPoint | None = FLOOR) -> Figure:
    kept: list[Figure] = []

    def keep(figure: Figure, path: Path) -> Path:
        kept.append(figure)
        return path

    monkeypatch.setattr(forgetting, "save", keep)
    forgetting_scatter(POINTS, LOOKS, Path("x.png"), score="identity", kind="object", floor=floor)
    return kept[0]


def test_one_point_per_arm_with_its_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = drawn(monkeypatch).axes
    bars = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    assert [one.get_label() for one in bars] == ["first:  td_a", "td_c"]
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
    path = forgetting_scatter(POINTS, LOOKS, tmp_path / "x.png", score="identity", kind="place")
    assert min(png_size(path)) > 400
    with pytest.raises(ValueError, match="nothing to draw"):
        forgetting_scatter(POINTS[1:2], LOOKS, tmp_path / "y.png", score="identity", kind="place")
    assert not (tmp_path / "y.png").exists()
