"""``fp-lab weights``: list, get, where."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fp_lab.cli import app
from fp_metrics.artifact import Artifact
from fp_metrics.weights import weights_folder, weights_path
from made_up_packages import CONTENT

MadeUp = dict[str, Artifact]


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["weights", *arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def rows(text: str) -> dict[str, list[str]]:
    """What is said of each artifact, by its name: three lines each, after the heading."""
    lines = text.splitlines()[1:]
    found = {}
    for facts, _, origin in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        name, family, number, unit, state = facts.split()
        licence, place = origin.strip().split("; ")
        found[name] = [family, f"{number} {unit}", licence, place, state]
    return found


def test_list_tells_what_is_there(made_up_weights: MadeUp) -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / "published.pth").write_bytes(CONTENT)
    (weights_folder() / "on-hub.safetensors").write_bytes(b"half")
    code, text = invoke("list")
    assert code == 0
    licence = "Apache-2.0, (c) nobody"
    assert rows(text) == {
        "carried": ["offline", "1.5 kB", licence, "PyPI: fake-files 1.0", "missing"],
        "published": ["paper", "1.5 kB", licence, "example.org", "present"],
        "on-hub": ["paper", "1.5 kB", licence, "hub: nobody/no-such-model", "damaged"],
    }
    assert list(rows(invoke("list", "--family", "offline")[1])) == ["carried"]


@pytest.mark.parametrize("arguments", [["carried"], ["--family", "offline"]])
def test_get_brings_them_and_tells_where_and_under_which_licence(
    made_up_weights: MadeUp, arguments: list[str]
) -> None:
    code, text = invoke("get", *arguments)
    path = weights_path("carried")
    assert code == 0
    assert text.splitlines() == [
        "carried.pth: fetching fake-files 1.0 (0.0 MB)",
        f"{path}: Apache-2.0, (c) nobody",
    ]
    assert invoke("where", "carried") == (0, f"{path}\n")


def test_get_all_tells_what_is_missing_in_the_end(made_up_weights: MadeUp) -> None:
    (weights_folder()).mkdir(parents=True)
    (weights_folder() / "published.pth").write_bytes(CONTENT)
    code, text = invoke("get", "--all")
    assert code == 2
    assert "carried.pth: fetching" in text
    assert "published: there already" in text
    assert "on-hub: nobody/no-such-model on the hub cannot be fetched" in text
    assert weights_path("carried").read_bytes() == CONTENT


def test_get_takes_a_file_in(made_up_weights: MadeUp, tmp_path: Path) -> None:
    brought = tmp_path / "net.pth"
    brought.write_bytes(b"another")
    code, text = invoke("get", "published", "--from", str(brought))
    assert code == 2
    assert "the file for published has 7 bytes" in text
    brought.write_bytes(CONTENT)
    assert invoke("get", "published", "--from", str(brought)) == (
        0,
        f"{weights_path('published')}: Apache-2.0, (c) nobody\n",
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["get"], "expected names, --family or --all"),
        (["get", "carried", "--all"], "expected names, --family or --all"),
        (["get", "--all", "--family", "paper"], "expected names, --family or --all"),
        (["get", "carried", "published", "--from", __file__], "expected one name with --from"),
        (["get", "--all", "--from", __file__], "expected one name with --from"),
        (["get", "caried"], "did you mean 'carried'"),
        (["get", "carried", "--from", "no-such-file"], "does not exist"),
        (["where", "carried"], "fp-lab weights get carried"),
        (["where", "caried"], "did you mean 'carried'"),
    ],
)
def test_mistakes_cost_a_line_and_exit_code_2(
    made_up_weights: MadeUp, arguments: list[str], says: str
) -> None:
    code, text = invoke(*arguments)
    assert code == 2
    assert says in text
    assert "Traceback" not in text
