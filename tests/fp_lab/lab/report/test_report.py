"""The page of a grid: complete, self-contained, and its pictures are there."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import fake_runs
from fake_runs import CONTROL, INVERTED, VANILLA
from fp_data.clips import write_mp4
from fp_data.worlds import WorldConfig
from fp_lab.lab.compare.forgetting import forgetting_table, gather_forgetting
from fp_lab.lab.report import write_report
from fp_lab.lab.report.plots.curves import running_mean
from fp_lab.lab.report.plots.strips import shown_frames
from fp_lab.lab.report.plots.style import looks, png_size
from fp_lab.lab.results.gather import gather
from made_up_scores import Figures, made_up_grid

LABELS = {"vanilla · temporal", "inverted · temporal", "no history"}
_VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for key, value in attrs if key in ("src", "href") and value]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in ("p", "li", "dt", "dd", "html", "body"):
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = {VANILLA: Figures(0.9, -0.5), INVERTED: Figures(0.9, 0.0, gap=0.05), CONTROL: Figures(0.3)}
    folder = made_up_grid(tmp_path_factory.mktemp("grid"), arms, videos=4)
    for arm in arms:
        write_mp4(folder / arm / "seed0" / "samples" / "own-00.mp4", np.zeros((4, 16, 16, 3), np.uint8), 8)
    (folder / "grid.yaml").write_text("name: <made up>\n")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(grid: Path) -> Page:
    parser = Page()
    parser.feed((grid / "report" / "index.html").read_text(encoding="utf-8"))
    parser.close()
    return parser


def test_everything_the_page_refers_to_is_there(grid: Path, page: Page) -> None:
    local = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert not [link for link in local if "://" in link]
    for link in local:
        assert (grid / "report" / unquote(link)).is_file(), link
    pictures = {link for link in local if link.endswith(".png")}
    plots = {"curves-world", "drift-world", "gap-world", "curves-histories", "quality-cost"}
    assert {f"{name}.{kind}" for name in plots for kind in ("png", "svg")} <= set(local)
    assert len([link for link in pictures if link.startswith("strip-overview")]) == 3
    assert len([link for link in pictures if link.startswith("strip-arm")]) == 3
    assert not page.open


def test_videos_are_shown_in_which_hidden_objects_are_soonest_to_come_back(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path, {VANILLA: Figures()}, videos=4, families=())
    row = {"agreement": 1.0, "psnr": 20.0, "weight": 1.0, "reason": None}
    gaps = ([], [9, 15], [3, 5], [11, 12])
    videos = [[row | {"kind": "told", "gap": gap} for gap in video] for video in gaps]
    content = {"clusters": ["a"] * 4, "histories": {"truth": videos}}
    (grid / "truth" / "scores" / "forgetting.json").write_text(json.dumps(content))
    write_report(grid)
    shown = {path.stem for path in (grid / "report").glob("strip-overview-*.png")}
    assert shown == {"strip-overview-01", "strip-overview-02", "strip-overview-03"}


def test_anchors_lead_somewhere(grid: Path, page: Page) -> None:
    html = (grid / "report" / "index.html").read_text(encoding="utf-8")
    for link in page.links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in html


def test_the_page_says_what_it_must(page: Page) -> None:
    for word in (
        VANILLA,
        INVERTED,
        "control",
        "noise floor",
        "world/shape-iou",
        "0-3",
        "sha256",
        "name: <made up>",
    ):
        assert word in page.text, word
    assert "first n against last n" in page.text


def test_pictures_show_something(grid: Path) -> None:
    for picture in (grid / "report").glob("*.png"):
        width, height = png_size(picture)
        assert width > 400, picture
        assert height > 150, picture
        assert picture.stat().st_size > 5000, picture


def test_the_tables_lie_beside_the_page(grid: Path) -> None:
    text = (grid / "report" / "table.md").read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith("The control without history"), "after a caution on kernels"
    assert "| no history (control)" in text
    assert f"| `{CONTROL}` " in text


def legend(picture: Path) -> dict[str, str]:
    """Label -> colour of what stands before it in the legend of an SVG, where texts are comments."""
    drawn = picture.read_text(encoding="utf-8").partition('<g id="legend_1">')[2]
    texts = [(0, ""), *((found.end(), found[1]) for found in re.finditer(r"<!-- (.*?) -->", drawn))]
    before = [(label, drawn[begin:end]) for (begin, _), (end, label) in pairwise(texts)]
    colours = {label: re.findall(r"(?:stroke|fill): (#[0-9a-f]{6})", part) for label, part in before}
    return {label: next(c for c in reversed(found) if c != "#222222") for label, found in colours.items()}


def test_an_arm_has_one_colour_and_its_short_label_in_every_legend(grid: Path) -> None:
    report = grid / "report"
    curves, cost = (legend(report / f"{name}.svg") for name in ("curves-world", "quality-cost"))
    assert {label: curves[label] for label in LABELS} == cost
    assert len(set(cost.values())) == 3
    for picture in report.glob("*.svg"):
        assert VANILLA not in picture.read_text(encoding="utf-8"), picture


def test_bars_and_strips_have_the_colours_of_the_curves(grid: Path) -> None:
    report = grid / "report"
    colours = legend(report / "curves-world.svg")
    bars = (report / "drift-world.svg").read_text(encoding="utf-8")
    strip = np.asarray(Image.open(report / "strip-overview-00.png").convert("RGB"))
    for label in LABELS:
        assert f"fill: {colours[label]}" in bars
        swatch = np.round(np.array(to_rgb(colours[label])) * 255)
        assert (strip == swatch).all(-1).sum() > 500


def test_every_arm_has_a_colour_of_its_own(grid: Path) -> None:
    found = looks(gather([grid]).arms)
    assert len({look.colour for look in found.values()}) == 3
    assert found[VANILLA].dash != found[INVERTED].dash


def test_curves_leave_gaps_where_nothing_is_defined() -> None:
    nan = np.nan
    smooth = running_mean(np.array([[0.0, 3.0, nan, nan, nan, 5.0]]), 3)
    np.testing.assert_allclose(smooth, [[1.5, 1.5, 3.0, nan, 5.0, 5.0]])


def test_strips_show_the_first_and_the_last_frame() -> None:
    assert shown_frames(64)[0] == 0
    assert shown_frames(64)[-1] == 63
    assert len(shown_frames(64)) == 12
    assert shown_frames(3) == (0, 1, 2)


def test_forgetting_has_a_section_where_something_returns(tmp_path: Path) -> None:
    world = WorldConfig(size=64, frames=48, variant="occlusion")
    arms = {fake_runs.VANILLA: fake_runs.repainting, fake_runs.CONTROL: fake_runs.faithful}
    grid = fake_runs.fake_grid(tmp_path, arms, videos=3, world=world)
    page = write_report(grid).read_text(encoding="utf-8")
    assert 'id="forgetting"' in page
    assert (grid / "report" / "forgetting-object.png").is_file()
    gathered = gather([grid])
    found = {arm.name: arm.kinds["own", "object"] for arm in gather_forgetting(gathered)}
    assert set(found) == {fake_runs.VANILLA, fake_runs.CONTROL, "truth"}
    assert found[fake_runs.CONTROL].forgotten.mean == pytest.approx(found["truth"].forgotten.mean)
    assert found[fake_runs.VANILLA].forgotten.mean > found["truth"].forgotten.mean + 0.1


def test_what_still_scenes_recall_is_drawn_and_told(tmp_path: Path) -> None:
    world = WorldConfig(frames=48, variant="curtain")
    arms = {fake_runs.VANILLA: fake_runs.repainting, fake_runs.CONTROL: fake_runs.faithful}
    grid = fake_runs.fake_grid(tmp_path, arms, videos=3, world=world)
    page = write_report(grid).read_text(encoding="utf-8")
    assert (grid / "report" / "forgetting-gap.png").is_file()
    assert "world: it follows one moving object" in page
    drawn = (grid / "report" / "forgetting-gap.svg").read_text(encoding="utf-8")
    gathered = gather([grid])
    for arm in gathered.arms:
        assert f"{arm.label} ({arm.context_tokens} context tokens)" in drawn
    found = gather_forgetting(gathered)
    table = forgetting_table(gathered, found)
    cells = {line.name: [round(cell.value, 3) for cell in line.cells] for line in table.lines}
    keys = ["place_agreement", "place_forgotten", "own_recall", "own_told", "true_recall", "true_told"]
    assert [column.key for column in table.columns] == keys
    assert cells[fake_runs.CONTROL] == cells["ground truth"] == [1, 0, 100, 1, 100, 1]
    vanilla = dict(zip(keys, cells[fake_runs.VANILLA], strict=True))
    assert (vanilla["true_recall"], vanilla["true_told"]) == (100, 1)
    assert vanilla["own_recall"] < 30
    assert vanilla["own_told"] < 1
    assert vanilla["place_forgotten"] > 0.05
