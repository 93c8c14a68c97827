"""The ablation name and its frozen form: ``parse(name) -> Recipe`` and ``str(recipe) -> name``.

Left to right in a name is video time. The grammar is the one of the FramePack paper, written out::

    name  = [left "_"] gen ["_" right]
    gen   = "g" N ["+" ("D" | "d") [N]]
    left  = [tail "_"] run {"_x_" run} ["_x"]
    right = ["x_"] run {"_x_" run} ["_" tail]
    run   = level {level}
    level = "f" N "k" (1 | 2 | 4 | 8 | 16 | N "h" N "w" N)
    tail  = "td" | "ta" | "tc"
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from fp_lab.recipe.notation import (
    DEFAULT_CODEBOOK,
    LARGEST_NUMBER,
    SHORT_KERNELS,
    TAIL_PLACE,
    TAILS,
    Kernel,
    Level,
    Recipe,
    RecipeError,
    Run,
    Side,
    Tail,
)
from fp_lab.registry import Registry

_RUN = "a run such as f16k4f2k2f1k1"


def _check_levels(levels: object) -> None:
    """Refuse what is not the levels of a compression."""
    if not isinstance(levels, str):
        raise ValueError(f"got {levels!r}, expected levels such as f4k2f1k1")
    for run in levels.split("_x_"):
        parse_run(run)


COMPRESSIONS: Registry[str] = Registry(
    "compression", reserved=r"rate.*|[fg]\d.*|x|td|ta|tc", check=_check_levels
)
"""Levels by name, for the left side; the last three are those of the variants Base, Lite and Extended.

Those before ``_x_`` stay at the first frames of the video, so that these are as fine however long it gets.
"""
_BUILT_IN = {
    "geometric": "f2k1h8w8f1k1h8w4f1k1h4w4f1k1h4w2f1k1",
    "duplicated": "f3k1h8w8f3k1h4w4f1k1",
    "temporal": "f8k8f4k4f2k2f1k1",
    "released": "f16k4f2k2f1k1",
    "important_start": "f1k1_x_f16k4f2k2f1k1",
    "symmetric": "f1k1f2k2_x_f4k4f2k2f1k1",
    "base": "f2k2f1k1h4w4f1k1h4w2f1k1",
    "lite": "f20k4f1k1",
    "extended": "f2k2f1k1h4w4f2k1h4w2f1k1",
}


@dataclass(frozen=True)
class _Word:
    """A piece of the name between underscores, read."""

    position: int
    text: str
    value: Run | Tail | Literal["x"] | tuple[int, int | None]


class _Cursor:
    """Reads one word of a name character by character."""

    def __init__(self, name: str, start: int, stop: int) -> None:
        self.name, self.at, self.stop = name, start, stop

    @property
    def done(self) -> bool:
        return self.at >= self.stop

    def fail(self, expected: str, start: int | None = None) -> RecipeError:
        start = self.at if start is None else start
        return RecipeError(self.name, start, expected, max(self.at, start + 1) - start)

    def accept(self, letters: str) -> bool:
        if not self.done and self.name[self.at] in letters:
            self.at += 1
            return True
        return False

    def expect(self, letter: str, expected: str) -> None:
        if not self.accept(letter):
            raise self.fail(expected)

    def number(self, what: str) -> int:
        start = self.at
        while self.accept("0123456789"):
            pass
        digits = self.name[start : self.at]
        if not digits:
            raise self.fail(f"{what} (a positive integer)")
        if digits[0] == "0":
            raise self.fail(f"{what} as a positive integer without a leading zero", start)
        if len(digits) > len(str(LARGEST_NUMBER)):
            raise self.fail(f"{what} of at most {LARGEST_NUMBER}", start)
        return int(digits)

    def even(self, what: str) -> int:
        start = self.at
        number = self.number(what)
        if number % 2:
            raise self.fail(f"an even {what}", start)
        return number

    def kernel(self) -> Kernel:
        choices = "1, 2, 4, 8, 16 or NhNwN"
        if self.done or self.name[self.at] not in "0123456789":
            raise self.fail(choices)
        start = self.at
        t = self.number("frames per token")
        if not self.accept("h"):
            if t not in SHORT_KERNELS:
                raise self.fail(choices, start)
            return Kernel(t, 2 * t, 2 * t)
        h = self.even("number of latent rows per token")
        self.expect("w", "w and an even number of latent columns per token")
        return Kernel(t, h, self.even("number of latent columns per token"))

    def run(self) -> Run:
        levels = []
        while not self.done:
            self.expect("f", "f for a further level, or _ for the end of the run")
            frames = self.number("number of frames of the level")
            self.expect("k", "k and the kernel of the level (1, 2, 4, 8, 16 or NhNwN)")
            levels.append(Level(frames, self.kernel()))
        return Run(tuple(levels))

    def generated(self) -> tuple[int, int | None]:
        self.expect("g", "g and the section length")
        section, codebook = self.number("section length"), None
        if self.accept("+"):
            self.expect("Dd", "D, optionally with the codebook size")
            codebook = DEFAULT_CODEBOOK if self.done else self.number("codebook size")
        if not self.done:
            raise self.fail("_, +D, +D and a codebook size, or the end of the name")
        return section, codebook

    def word(self) -> _Word:
        start, text = self.at, self.name[self.at : self.stop]
        if text == "x":
            return _Word(start, text, "x")
        if text in TAILS:
            return _Word(start, text, text)
        if text.startswith("f"):
            return _Word(start, text, self.run())
        if text.startswith("g"):
            return _Word(start, text, self.generated())
        expected = f"{_RUN}, x, a tail (td, ta, tc), or g and the section length"
        if text in COMPRESSIONS:
            expected = f"{COMPRESSIONS[text]} (the compression {text!r})"
        raise RecipeError(self.name, start, expected, len(text))


def _words(name: str) -> list[_Word]:
    words, start = [], 0
    for text in name.split("_"):
        words.append(_Cursor(name, start, start + len(text)).word())
        start += len(text) + 1
    return words


def _side(name: str, words: list[_Word], *, left: bool) -> Side:
    """Read one side's words, given from the outer end inwards: ``[tail] run {x run} [x]``."""

    def fail(word: _Word, expected: str) -> RecipeError:
        return RecipeError(name, word.position, expected, len(word.text))

    if not words:
        return Side()
    tail_word = words[0] if words[0].text in TAILS else None
    runs: list[Run] = []
    run_is_due = True
    for word in words[1:] if tail_word else words:
        if word.text in TAILS:
            raise fail(word, f"{TAIL_PLACE}; here {_RUN}" if run_is_due else TAIL_PLACE)
        if run_is_due and not isinstance(word.value, Run):
            raise fail(word, f"{_RUN} {'before' if left else 'after'} x")
        if not run_is_due and word.value != "x":
            raise fail(word, "x between two runs (or no _ between levels of one run)")
        if isinstance(word.value, Run):
            runs.append(word.value)
        run_is_due = not run_is_due
    if tail_word and len(runs) != 1:
        raise fail(tail_word, TAIL_PLACE)
    tail = cast(Tail, tail_word.text) if tail_word else None
    return Side(tuple(runs if left else runs[::-1]), adjacent=not run_is_due, tail=tail)


@lru_cache(maxsize=4096)
def parse(name: str) -> Recipe:
    """Read an ablation name.

    Args:
        name: For example ``td_f16k4f2k2f1k1_g9`` or ``f1k1_x_g9_f1k1f2k2f16k4_td``.

    Returns:
        The recipe; ``str(recipe)`` is the canonical form of the name.

    Raises:
        RecipeError: The name does not follow the grammar; the message points at the token.
        ValueError: It has more than `MOST_LEVELS` levels.
    """
    words = _words(name)
    sections = [i for i, word in enumerate(words) if isinstance(word.value, tuple)]
    if not sections:
        raise RecipeError(name, len(name), "_ and g with the section length, such as _g9")
    if len(sections) > 1:
        again = words[sections[1]]
        raise RecipeError(name, again.position, "only one generated section (g)", len(again.text))
    value = words[sections[0]].value
    assert isinstance(value, tuple)
    left = _side(name, words[: sections[0]], left=True)
    right = _side(name, words[: sections[0] : -1], left=False)
    return Recipe(value[0], left, right, value[1])


def parse_run(text: str) -> Run:
    """Read levels alone, such as ``f16k4f2k2f1k1``.

    Raises:
        RecipeError: The text is no run; the message points at the token.
    """
    return _Cursor(text, 0, len(text)).run()


for _name, _levels in _BUILT_IN.items():
    COMPRESSIONS.register(_name)(_levels)
