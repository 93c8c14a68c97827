"""The parts of an ablation name as frozen values, how they print, and the error for unreadable names.

Read names with ``fp_lab.recipe``, which offers everything here.
"""

from dataclasses import dataclass
from typing import Literal

Order = Literal["none", "vanilla", "endpoint", "inverted", "planned"]
Tail = Literal["td", "ta", "tc"]

TAILS: tuple[Tail, ...] = ("td", "ta", "tc")
SHORT_KERNELS = (1, 2, 4, 8, 16)
DEFAULT_CODEBOOK = 128
LARGEST_NUMBER = 999_999
MOST_LEVELS = 256
"""Levels of a recipe. What a name means takes time with the square of them; published ones have up to six."""

TAIL_PLACE = "a tail (td, ta, tc) only at the outer end of a side with one run"


class RecipeError(ValueError):
    """A recipe name that cannot be read; the message shows a caret under the offending token.

    Attributes:
        name: The text as it came.
        position: Index of the first character of the offending token (``len(name)`` when the end came early).
        expected: What would have been right there.
        width: Number of characters of the offending token, at least 1.
    """

    def __init__(self, name: str, position: int, expected: str, width: int = 1) -> None:
        """Keep the parts; the message is made from them, so the error also survives pickling."""
        super().__init__(name, position, expected, width)
        self.name = name
        self.position = position
        self.expected = expected
        self.width = max(width, 1)

    def __str__(self) -> str:
        """Say what came, what was expected, and point at it."""
        token = self.name[self.position : self.position + self.width]
        got = repr(token) if token else "the end of the name"
        return (
            f"recipe {self.name!r}: got {got} at position {self.position}, expected {self.expected}\n"
            f"  {self.name}\n"
            f"  {' ' * self.position}{'^' * self.width}"
        )


def _check_number(what: str, value: int) -> None:
    if not isinstance(value, int) or not 1 <= value <= LARGEST_NUMBER:
        raise ValueError(f"{what}: got {value!r}, expected an integer from 1 to {LARGEST_NUMBER}")


@dataclass(frozen=True, order=True)
class Kernel:
    """Latent frames, rows and columns that one token stands for; rows and columns are even."""

    t: int
    h: int
    w: int

    def __post_init__(self) -> None:
        """Reject sizes that the notation cannot write."""
        for axis, size in (("t", self.t), ("h", self.h), ("w", self.w)):
            _check_number(f"kernel {axis}", size)
        if self.h % 2 or self.w % 2:
            raise ValueError(f"kernel ({self.t}, {self.h}, {self.w}): expected even h and w")

    @property
    def volume(self) -> int:
        """Latent pixels per token."""
        return self.t * self.h * self.w

    def __str__(self) -> str:
        """Canonical text: ``k2`` for (2,4,4), the full form such as ``k1h4w2`` otherwise."""
        if self.t in SHORT_KERNELS and self.h == self.w == 2 * self.t:
            return f"k{self.t}"
        return f"k{self.t}h{self.h}w{self.w}"


BASE = Kernel(1, 2, 2)


@dataclass(frozen=True)
class Level:
    """So many contiguous frames at one kernel; padded alone (``f1k2f1k2`` is not ``f2k2``)."""

    frames: int
    kernel: Kernel

    def __post_init__(self) -> None:
        """Reject an empty level."""
        _check_number("level frames", self.frames)

    def __str__(self) -> str:
        """Canonical text, such as ``f16k4``."""
        return f"f{self.frames}{self.kernel}"


@dataclass(frozen=True)
class Run:
    """Levels over contiguous frames, left to right in video time."""

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        """Reject an empty run."""
        if not self.levels:
            raise ValueError("a run needs at least one level, got none")

    @property
    def frames(self) -> int:
        """Frames of all levels together."""
        return sum(level.frames for level in self.levels)

    @property
    def mirrored(self) -> "Run":
        """The same levels for the other side of the section."""
        return Run(self.levels[::-1])

    def __str__(self) -> str:
        """Canonical text, such as ``f16k4f2k2f1k1``."""
        return "".join(map(str, self.levels))


@dataclass(frozen=True)
class Side:
    """What stands on one side of the generated section.

    Attributes:
        runs: Runs from left to right in video time.
        adjacent: No ``x`` stands between the section and the run nearest to it.
        tail: What happens to known frames beyond the single run (``None`` drops them, like ``td``).
    """

    runs: tuple[Run, ...] = ()
    adjacent: bool = False
    tail: Tail | None = None

    def __post_init__(self) -> None:
        """Reject what the grammar cannot write."""
        if self.adjacent and not self.runs:
            raise ValueError("side: got adjacent=True without a run, expected adjacent=False")
        if self.tail is not None and (self.tail not in TAILS or len(self.runs) != 1):
            raise ValueError(f"side: got tail {self.tail!r} and {len(self.runs)} runs, expected {TAIL_PLACE}")

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels of all runs, left to right."""
        return tuple(level for run in self.runs for level in run.levels)


@dataclass(frozen=True)
class Recipe:
    """One ablation arm: the generated section and the packed history around it.

    Attributes:
        section: Frames generated per call (``g``).
        left: History before the section in video time.
        right: History after the section in video time.
        codebook: Number of centroids of the discretised history, ``None`` for a continuous one.
    """

    section: int
    left: Side = Side()
    right: Side = Side()
    codebook: int | None = None

    def __post_init__(self) -> None:
        """Reject an empty section or codebook, and more levels than anyone means."""
        _check_number("section", self.section)
        if self.codebook is not None:
            _check_number("codebook", self.codebook)
        if (count := len(self.levels)) > MOST_LEVELS:
            raise ValueError(f"recipe: got {count} levels, expected {MOST_LEVELS} at most")

    @property
    def order(self) -> Order:
        """The generation order that the shape implies; one right run adjacent to ``g`` is inverted."""
        if len(self.right.runs) > 1:
            return "planned"
        if self.right.runs:
            return "inverted" if self.right.adjacent else "endpoint"
        return "vanilla" if self.left.runs else "none"

    @property
    def levels(self) -> tuple[Level, ...]:
        """All levels, left to right: the order of ``assign_by_time``."""
        return self.left.levels + self.right.levels

    def __str__(self) -> str:
        """The canonical name; ``parse(str(recipe)) == recipe``."""
        left, right = self.left, self.right
        words: list[str] = [left.tail] if left.tail else []
        words += ["_x_".join(map(str, left.runs))] if left.runs else []
        words += ["x"] if left.runs and not left.adjacent else []
        words += [f"g{self.section}{_codebook_text(self.codebook)}"]
        words += ["x"] if right.runs and not right.adjacent else []
        words += ["_x_".join(map(str, right.runs))] if right.runs else []
        words += [right.tail] if right.tail else []
        return "_".join(words)


def _codebook_text(codebook: int | None) -> str:
    if codebook is None:
        return ""
    return "+D" if codebook == DEFAULT_CODEBOOK else f"+D{codebook}"
