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
from difflib import get_close_matches
from typing import Literal, cast

from fp_lab.notation import (
    BASE,
    DEFAULT_CODEBOOK,
    LARGEST_NUMBER,
    SHORT_KERNELS,
    TAIL_PLACE,
    TAILS,
    Kernel,
    Level,
    Order,
    Recipe,
    RecipeError,
    Run,
    Side,
    Tail,
)

__all__ = [
    "BASE",
    "COMPRESSIONS",
    "SHORT_KERNELS",
    "TAILS",
    "Kernel",
    "Level",
    "Order",
    "Recipe",
    "RecipeError",
    "Run",
    "Side",
    "Tail",
    "from_parts",
    "parse",
    "run_of_rate",
]

_RUN = "a run such as f16k4f2k2f1k1"

COMPRESSIONS: dict[str, str] = {
    "geometric": "f2k1h8w8f1k1h8w4f1k1h4w4f1k1h4w2f1k1",
    "duplicated": "f3k1h8w8f3k1h4w4f1k1",
    "temporal": "f8k8f4k4f2k2f1k1",
    "released": "f16k4f2k2f1k1",
    "important_start": "f1k1f2k2f16k4",
    "symmetric": "f1k1f2k2f4k4f2k2f1k1",
    "base": "f2k2f1k1h4w4f1k1h4w2f1k1",
    "lite": "f20k4f1k1",
    "extended": "f2k2f1k1h4w4f2k1h4w2f1k1",
}
"""Levels by name, for the left side; the last three are those of the variants Base, Lite and Extended."""

_RATE = "rate"
_HALVINGS = tuple(Kernel(1, 2 ** (1 + (i + 1) // 2), 2 ** (1 + i // 2)) for i in range(13))
"""Kernels of 1, 1/2, 1/4, .. of a frame's tokens: (1,2,2), (1,4,2), (1,4,4), (1,8,4), (1,8,8), .."""


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
            expected = f"{COMPRESSIONS[text]} (the run of the compression {text!r})"
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


def parse(name: str) -> Recipe:
    """Read an ablation name.

    Args:
        name: For example ``td_f16k4f2k2f1k1_g9`` or ``f1k1_x_g9_f1k1f2k2f16k4_td``.

    Returns:
        The recipe; ``str(recipe)`` is the canonical form of the name.

    Raises:
        RecipeError: The name does not follow the grammar; the message points at the token.
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


def _choice(what: str, got: str, choices: tuple[str, ...]) -> str:
    if got in choices:
        return got
    close = get_close_matches(got, choices, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise RecipeError(got, 0, f"{what}: one of {', '.join(choices)}{hint}", len(got))


def run_of_rate(rate: float, deepest: int = 4) -> Run:
    """A run whose history costs ``rate`` frames' worth of tokens, of powers of two.

    The geometric schedule 1 + 1/2 + 1/4 + .. costs 2, its last term twice. More is had by duplicated terms,
    2.625 = 2 + 1/2 + 1/8, less by dropped ones, 1.3125 = 1 + 1/4 + 1/16 (FramePack paper, section 3.1).

    Args:
        rate: Limit of the history's tokens over those of one frame; a multiple of 2**-deepest.
        deepest: Exponent of the smallest term, 1 to 12.

    Returns:
        Single frames at spatial kernels, the finest beside the section on its right.

    Raises:
        ValueError: A rate that is not above 0, or that the terms cannot make; the message has the nearest.
    """
    if not 1 <= deepest < len(_HALVINGS):
        raise ValueError(f"deepest: got {deepest}, expected 1 to {len(_HALVINGS) - 1}")
    unit = 2**deepest
    units = round(rate * unit)
    if units < 1 or units != rate * unit:
        raise ValueError(
            f"rate: got {rate}, expected a positive multiple of 1/{unit}, such as {max(units, 1) / unit}, "
            "or a deeper smallest term"
        )
    frames = [0] * (deepest + 1)
    if units >= 2 * unit:
        frames = [1] * (deepest + 1)
        frames[-1] += 1
        units -= 2 * unit
    frames[0] += units // unit
    for exponent in range(1, deepest + 1):
        frames[exponent] += units >> (deepest - exponent) & 1
    levels = [Level(count, kernel) for count, kernel in zip(frames, _HALVINGS, strict=False) if count]
    return Run(tuple(levels[::-1]))


def _compression_run(compression: str) -> Run:
    if compression.startswith(_RATE):
        try:
            rate = float(compression.removeprefix(_RATE))
        except ValueError:
            expected = f"{_RATE} and a number, such as rate2.625"
            raise RecipeError(compression, 0, expected, len(compression)) from None
        return run_of_rate(rate)
    text = COMPRESSIONS.get(compression, compression)
    if not (text[:1] == "f" and text[1:2].isdigit()):
        _choice("a compression (or levels such as f16k4f2k2f1k1, or rate2.625)", text, tuple(COMPRESSIONS))
    return _Cursor(text, 0, len(text)).run()


def from_parts(
    compression: str,
    order: str,
    section: int = 9,
    tail: str | None = "td",
    codebook: int | None = None,
    sink: int = 0,
) -> Recipe:
    """Build a recipe from the swappable parts of a config.

    Args:
        compression: A key of ``COMPRESSIONS``, levels for the left side such as ``f16k4f2k2f1k1``, or a rate
            such as ``rate2.625`` (see `run_of_rate`).
        order: ``none``, ``vanilla``, ``endpoint`` or ``inverted`` (``none`` has no history: neither
            compression nor tail shows in the name).
        section: Frames generated per call.
        tail: ``td``, ``ta``, ``tc`` or ``None``.
        codebook: Number of centroids of a discretised history, ``None`` for a continuous one.
        sink: So many first frames of the video that are always kept, uncompressed; vanilla order, no tail.

    Returns:
        ``[tail_]run_gN`` for vanilla (``f<sink>k1_x_run_gN`` with sink frames), ``[tail_]run_gN_x_f1k1`` for
        endpoint, ``f1k1_x_gN_<mirrored run>[_tail]`` for inverted, ``gN`` for none.

    Raises:
        RecipeError: An unknown compression, order or tail, or levels that cannot be read.
        ValueError: A section or codebook below 1, or order ``planned``, which has no parts.
    """
    run = _compression_run(compression)
    if order == "planned":
        raise ValueError(
            "order: got 'planned', expected none, vanilla, endpoint or inverted; a planned recipe has a "
            "right run per endpoint, so write its name out, such as recipe: f16k4f2k2f1k1_x_g9_x_f1k1_x_f1k1"
        )
    _choice("an order", order, ("none", "vanilla", "endpoint", "inverted"))
    kind = None if tail is None else cast(Tail, _choice("a tail", tail, tuple(map(str, TAILS))))
    one = Run((Level(1, BASE),))
    if sink:
        if order != "vanilla" or kind in ("ta", "tc"):
            raise ValueError(
                f"sink: got {sink} with order {order!r} and tail {tail!r}, expected the vanilla order and "
                "tail td or null: the sink frames take the place of the tail"
            )
        return Recipe(section, Side((Run((Level(sink, BASE),)), run), True), codebook=codebook)
    if order == "vanilla":
        return Recipe(section, left=Side((run,), True, kind), codebook=codebook)
    if order == "endpoint":
        return Recipe(section, left=Side((run,), True, kind), right=Side((one,)), codebook=codebook)
    if order == "inverted":
        return Recipe(section, left=Side((one,)), right=Side((run.mirrored,), True, kind), codebook=codebook)
    return Recipe(section, codebook=codebook)
