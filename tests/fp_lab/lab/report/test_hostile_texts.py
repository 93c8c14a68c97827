"""Names, captions and labels of a stranger in pages and LaTeX: they are shown, and are nothing else."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bad_videos
from fp_data.read_video import write_mp4
from fp_lab.lab.checkpoints.afterwards import Tracked
from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.evaluate.score_file import Measuring
from fp_lab.lab.evaluate.score_folders import score_folders
from fp_lab.lab.report.checkpoints_page import _runs
from fp_lab.lab.report.document import document
from fp_lab.lab.report.grid_page import _page, _tables, _videos
from fp_lab.lab.report.protocol import protocol_html
from fp_lab.lab.report.scores_page import write_scores_page
from fp_lab.lab.tables import Cell, Column, Line, Table, to_html, to_latex
from fp_lab.lab.tables.latex import escaped
from made_up_scores import Figures, made_up_grid

MARKUP = "<script>alert(1)<\\script>\"><img src=x onerror=alert(1)>' &lt; \\input{x} $_^ 50% #1 {a}~b"
"""Markup, entities, and every character that means something to TeX; no slash, so that a file may have it."""
HOSTILE = f"{MARKUP}\x1b[31m\x00\r\x85\u202e"
SHOWN = f"{MARKUP}\\x1b[31m\\x00\\r\\x85\\u202e"
NAN, KINDS = float("nan"), ("arm", "control", "floor")
_TEX = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^"}
_TEX |= {r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"'}
_TEX |= {f"\\{mark}": mark for mark in "&%$#_{}"}
"""What LaTeX prints where it reads this (The Not So Short Introduction to LaTeX, section 2.4)."""


class Elements(HTMLParser):
    """Elements with the names of their attributes, what attributes hold, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found = Counter[tuple[str, ...]]()
        self.said: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[(tag, *(name for name, _ in attrs))] += 1
        self.said += [value or "" for name, value in attrs if name in ("alt", "title")]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def table(text: str) -> Table:
    cells = (Cell(0.5, 0.4, 0.6), Cell(NAN, reason=text))
    lines = tuple(
        Line(text, text, text, cells, kind)  # type: ignore[arg-type]
        for kind in KINDS
    )
    columns = (Column("x", text, text), Column("y", text))
    return Table("t", text, columns, lines, (text,), heads=(text, text))


def test_html_has_no_element_of_a_text_and_no_attribute() -> None:
    for page in (
        to_html,
        lambda made: document(made.title, [made.title], made.title, {made.title: to_html(made)}),
        lambda made: document("", [], "", {"Runs": _runs(Tracked((), (), (Path(made.title),)))}),
    ):
        hostile, plain = Elements(page(table(HOSTILE))), Elements(page(table("plain")))
        assert hostile.found == plain.found
        assert SHOWN in "".join(hostile.said)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page(table(HOSTILE)))


def printed(tex: str) -> str:
    """What LaTeX prints of escaped text; anything that it would take for more than text is refused."""
    tokens = re.findall(r"\\[a-zA-Z]+\{\}|\\[^a-zA-Z]|[^\\]", tex)
    assert "".join(tokens) == tex
    assert all(
        token in _TEX or re.fullmatch(r"[^\\&%$#_{}~^\x00-\x1f\x7f-\x9f]", token) for token in tokens
    ), tex
    return "".join(_TEX.get(token, token) for token in tokens)


def test_latex_prints_a_text_as_it_is() -> None:
    assert printed(escaped(HOSTILE)) == SHOWN
    assert printed(escaped("a\n\nb")) == "a  b", "an empty line ends a paragraph, which a caption must not"


def test_a_table_has_the_same_commands_whatever_its_texts() -> None:
    text, plain = to_latex(table(HOSTILE)), to_latex(table("plain"))
    assert text.replace(escaped(HOSTILE), "plain") == plain
    assert len(re.findall(r"(?<!\\)(?:\\\\)*%", text)) == 0, "no comment"


def test_a_page_of_scores_shows_hostile_names_and_captions(tmp_path: Path) -> None:
    name = MARKUP.replace("\\", "")
    videos = tmp_path / name
    videos.mkdir()
    for file in (f"{name}.mp4", "other.mp4"):
        write_mp4(videos / file, bad_videos.moving(20, seed=0), 8)
    (videos / f"{name}.txt").write_text(HOSTILE)
    (videos / f"broken {name}.mp4").write_bytes(b"no video")
    scores = score_folders([videos], measuring=Measuring(("plain",), ("clarity",)), workers=1)
    page = Elements(write_scores_page(scores, f"fp-lab evaluate '{name}'").read_text(encoding="utf-8"))
    assert_harmless(page)
    assert f"{name}.mp4" in "".join(page.said)
    assert MARKUP in "".join(page.said)


def test_the_report_of_a_grid_shows_hostile_names(tmp_path: Path) -> None:
    name = f"g5--{MARKUP}".replace("\\", "")
    grid = made_up_grid(tmp_path / name, {name: Figures(0.5)}, videos=2)
    write_mp4(grid / name / "seed0" / "samples" / "own-00.mp4", bad_videos.moving(4, seed=0), 8)
    (grid / "command.txt").write_text(f"fp-lab grid '{HOSTILE}'")
    (grid / "grid.yaml").write_text(f"# {MARKUP}\n")
    comparison = compare_runs([grid])
    gathered = comparison.gathered
    sections = {"Videos": _videos(gathered, grid), "Protocol": protocol_html(gathered, grid)}
    page = Elements(_page(name, comparison, sections | {"Tables": _tables(comparison)}))
    assert_harmless(page)
    assert name in "".join(page.said)
    assert f"{MARKUP}\\x1b[31m" in "".join(page.said)
    assert escaped(name) in comparison.written("latex")


def assert_harmless(page: Elements) -> None:
    """One script, which is the lab's own, and no attribute that runs anything."""
    assert sum(count for (tag, *_), count in page.found.items() if tag == "script") == 1
    attributes = {name for _, *names in page.found for name in names}
    assert not {name for name in attributes if name.startswith("on")}
    assert all("src" in names and "alt" in names for tag, *names in page.found if tag == "img")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    from fp_lab.lab.tables import to_csv

    assert f"'{text}" in to_csv([table(text)])
