"""Ranges of settings, checked where settings are made (standard library only)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

MOST = 10**9
"""Largest whole number where nothing else bounds it: no count of this field is larger."""
MOST_LATENTS = 1_000_000
"""Largest length of a video in latent frames: its sections are planned in seconds."""
MOST_PIXELS = 16384
"""Largest height and width of a video: twice 8K, and the limit of most codecs."""
MOST_CARDS, MOST_RANK = 1_000_000, 100_000
"""Largest number of cards to plan for, and rank of LoRA: far beyond all that there is."""
FPS = "[0.01, 1000]"
"""Frames per second: from one in 100 s, as of a growing plant, to those of a high-speed camera."""
MOST_SEED = 2**32 - 1
"""Largest seed, as NumPy has it."""
MOST_THREADS = 1024
THREADS = f"[1, {MOST_THREADS}]"
"""Of a process: more are begun, and take the memory of the machine, before anything is computed."""


def check_ranges(place: str, settings: Any, **ranges: str) -> None:
    """Refuse numbers outside their range; NaN is in none.

    Args:
        place: dotted path of the settings, for the message.
        settings: a dataclass.
        **ranges: an interval per field, such as ``"[0, 1)"`` or ``"(0, inf)"``; None is let through. Each
            number of a tuple has to be in it. A whole number is at most `MOST` where the end is open.

    Raises:
        ValueError: names the field, what came and what was expected.
    """
    for name, interval in ranges.items():
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else [value]:
            if number is not None and not _inside(number, interval):
                where = f"{place}.{name}" if place else name
                raise ValueError(f"{where}: got {number}, expected {_in_words(interval, number)}")


def check_once(what: str, names: Sequence[str]) -> None:
    """Refuse a list that has a name twice.

    Raises:
        ValueError: says which.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what}: got {name} {names.count(name)} times, expected it once")


def _inside(number: float, interval: str) -> bool:
    low, high = _ends(interval)
    if isinstance(number, int) and interval.endswith("inf)"):
        interval, high = f"{interval[:-1]}]", MOST
    above = number >= low if interval[0] == "[" else number > low
    return above and (number <= high if interval[-1] == "]" else number < high)


def _in_words(interval: str, number: float) -> str:
    low, high = interval[1:-1].split(", ")
    if high == "inf" and isinstance(number, int) and number > MOST:
        return f"at most {MOST}"
    if high == "inf":
        return f"at least {low}" if interval[0] == "[" else f"a number above {low}"
    return f"a value in {interval}"


@cache
def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(", ")
    return float(low), float(high)
