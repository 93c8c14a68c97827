"""Every command that README, documents, examples and help texts show can be run as it stands there."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fp_lab.cli import app
from fp_lab.lab.config import load_settings
from fp_lab.lab.files.experiments import find_experiment, find_grids
from fp_lab.lab.grids.grid import load_grid, load_single
from fp_lab.lab.training.pretrain import PretrainConfig
from fp_lab.lab.training.train_codec import CodecRunConfig

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
YAML = sorted((ROOT / "experiments").rglob("*.yaml"))
FENCED = re.compile(r"^```(?:\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
STARTS = ("fp-lab", "make", "python", "pip", "mlflow", "jupyter")
GRID = "name: mine\nbase: base\narms: [{recipe: g9}]\n"
PLACEHOLDER = re.compile(r"[A-Z]{2,}|^mine|^my_|^real\.yaml|/$")
"""Files and folders of the reader's own."""


def commands_in(text: str) -> Iterator[list[str]]:
    """Commands of a text, without comments, settings of the environment and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|; ", line.strip().removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # a line of another language
                continue
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            words = words[: words.index(">")] if ">" in words else words
            if words and words[0] == "sbatch":
                yield from commands_in(next(w for w in words if w.startswith("fp-lab")))
            elif words and Path(words[0]).name in STARTS:
                yield [Path(words[0]).name, *words[1:]]


def shown() -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Where, the command, and whether it stands in a block, complete."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(ROOT).as_posix()
        blocks = FENCED.findall(text)
        yield from ((name, tuple(words), True) for block in blocks for words in commands_in(block))
        for inline in INLINE.findall(FENCED.sub("", text)):
            yield from ((name, tuple(words), False) for words in commands_in(inline))
    for file in YAML:
        for line in re.findall(
            r"^#\s+(fp-lab .*?)(?:\s{3,}|$)", file.read_text(encoding="utf-8"), re.MULTILINE
        ):
            found = ((file.relative_to(ROOT).as_posix(), tuple(words), True) for words in commands_in(line))
            yield from found
    for name, command in all_commands(get_command(app)):
        for line in re.findall(r"(?:^|: )\s*(fp-lab .*?)(?:\s{3,}|$)", command.help or "", re.MULTILINE):
            yield from ((f"fp-lab {name} --help", tuple(words), True) for words in commands_in(line))


def all_commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, command
    for key, part in getattr(command, "commands", {}).items():
        yield from all_commands(part, f"{name} {key}".strip())


SHOWN = sorted(set(shown()))


def parsed(words: tuple[str, ...], *, complete: bool) -> tuple[str, dict[str, Any]] | None:
    """Name and parameters as the command line reads them; None where a mention leaves some out."""
    command: Any = get_command(app)
    context: Any = None
    rest, name = list(words), ""
    try:
        while True:
            context = command.make_context(rest.pop(0), rest, parent=context)
            if not hasattr(command, "commands"):
                return name.strip(), context.params
            rest = [*context._protected_args, *context.args]
            if not rest and not complete:
                return None
            key, command, _ = command.resolve_command(context, rest)
            name += f" {key}"
    except Exception as error:
        kind = type(error).__name__
        readers = "does not exist" in str(error)  # a file of the reader's own
        if readers or kind == "Exit" or (not complete and kind in ("MissingParameter", "NoArgsIsHelpError")):
            return None
        raise AssertionError(f"{shlex.join(words)}: {error}") from error


def check(words: tuple[str, ...], folder: Path, *, complete: bool) -> None:
    if words[0] == "fp-lab":
        check_lab(words, folder, complete=complete)
    else:
        check_program(words)


def check_lab(words: tuple[str, ...], folder: Path, *, complete: bool) -> None:
    """The command, its options, the files that come with fp_lab and the settings."""
    found = parsed(words, complete=complete)
    if found is None:
        return
    name, given = found
    overrides = tuple(given.get("overrides") or ())
    if name == "grid":
        check_grid(given["file"], overrides, folder)
    elif name == "efficiency":
        names = [text for text in given["arms"] or () if "=" not in text and re.fullmatch(r"[a-z]+", text)]
        for grid in names:
            check_grid(grid, tuple(text for text in given["arms"] if "=" in text), folder)
    elif name == "train" and not PLACEHOLDER.search(given["config"]):
        load_single(given["config"], overrides)
    elif name == "pretrain":
        load_settings(PretrainConfig, given["config"], overrides)
    elif name == "codec train":
        load_settings(CodecRunConfig, given["config"], overrides)
    elif name == "generate" and given["config"] and not PLACEHOLDER.search(str(given["config"])):
        find_experiment(given["config"])


@cache
def check_grid(file: str, overrides: tuple[str, ...], folder: Path) -> None:
    if not PLACEHOLDER.search(file):
        assert all(load_grid(path, overrides).arms for path in find_grids(file))
        return
    own = folder / "own.yaml"
    own.write_text(GRID, encoding="utf-8")
    load_grid(own, overrides)


def check_program(words: tuple[str, ...]) -> None:
    """Targets of make, scripts and modules of Python, extras of the project, folders of notebooks."""
    program, *rest = words
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets)
    elif program == "python" and rest and rest[0] == "-m":
        assert find_spec(rest[1]) is not None
    elif program == "python" and rest and not rest[0].startswith("-"):
        assert (ROOT / rest[0]).is_file()
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert not any(word.startswith("fp_lab") for word in rest), "fp_lab is installed from its checkout"
        for before, word in pairwise(rest):
            assert before not in ("-r", "-c") or (ROOT / word).is_file()
            extras = re.fullmatch(r"\.\[([a-z,]+)\]", word)
            assert extras is None or set(extras[1].split(",")) <= set(project["optional-dependencies"])
    elif program == "jupyter":
        assert rest[0] == "lab"
        assert (ROOT / rest[1]).is_dir()


@pytest.mark.parametrize("place", sorted({place for place, _, _ in SHOWN}))
def test_every_command_that_is_shown_is_one(place: str, tmp_path: Path) -> None:
    for where, words, complete in SHOWN:
        if where != place:
            continue
        check(words, tmp_path, complete=complete)


def test_the_commands_are_found() -> None:
    """Some of each place, so that the search itself does not fall silent."""
    texts = {shlex.join(words) for _, words, _ in SHOWN}
    for text in ("make demo", "fp-lab grid drift 'seeds=[0, 1, 2]' evaluation.videos=32", "fp-lab pretrain"):
        assert any(found.startswith(text) for found in texts), text
    assert len(texts) > 150


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("fp-lab generate --run runs/x --prompt y", "No such option"),
        ("fp-lab grids demo", "No such command"),
        ("fp-lab grid demmo", "no experiment file"),
        ("fp-lab grid demo trainig.steps=3", "did you mean"),
        ("fp-lab compare", "Missing parameter"),
        ("pip install 'fp_lab[ray]'", "from its checkout"),
        ("make dmo", "dmo"),
    ],
)
def test_commands_that_fail_are_found_out(line: str, fault: str, tmp_path: Path) -> None:
    (words,) = commands_in(line)
    with pytest.raises((AssertionError, ValueError)) as caught:
        check(tuple(words), tmp_path, complete=True)
    assert fault in str(caught.value)
