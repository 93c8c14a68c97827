import math
from dataclasses import dataclass

import pytest

from fp_lab.checks.ranges import check_once, check_ranges


@dataclass(frozen=True)
class Numbers:
    value: float | None = None
    several: tuple[float, ...] = ()


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.5], [-0.1, 1, math.inf]),
        ("(0, 1]", [0.1, 1], [0, 1.1]),
        ("[1, inf)", [1, 10**9, 1e30], [0, 10**9 + 1, math.inf]),
    ],
)
def test_an_interval_holds_what_mathematics_says(
    interval: str, inside: list[float], outside: list[float]
) -> None:
    for number in inside:
        check_ranges("of", Numbers(number, (number,)), value=interval, several=interval)
    for number in (*outside, math.nan):
        with pytest.raises(ValueError, match=r"^of\.value: got "):
            check_ranges("of", Numbers(number), value=interval)
        with pytest.raises(ValueError, match=r"^several: got "):
            check_ranges("", Numbers(several=(inside[0], number)), several=interval)
    check_ranges("of", Numbers(), value=interval)


def test_a_name_that_is_there_twice_is_told() -> None:
    check_once("family", ("plain", "world"))
    with pytest.raises(ValueError, match=r"^family: got plain 2\b"):
        check_once("family", ("plain", "world", "plain"))
