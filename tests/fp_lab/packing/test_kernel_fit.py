"""Kernels against frames: hand-counted shares, and silence at the size that presets are made for."""

import pytest

from fp_lab.packing.kernel_fit import KernelFit, kernel_fit, misfits
from fp_lab.recipe import COMPRESSIONS, Kernel, Level, parse
from fp_lab.recipe.compressions import from_parts


@pytest.mark.parametrize(
    ("level", "kernel", "size", "padding", "whole_frames"),
    [
        (8, Kernel(8, 16, 16), (8, 8), 0.75, 8),
        (16, Kernel(4, 8, 8), (8, 8), 0, 4),
        (16, Kernel(4, 8, 8), (16, 16), 0, 0),
        (8, Kernel(8, 16, 16), (16, 16), 0, 8),
        (2, Kernel(2, 4, 4), (8, 8), 0, 0),
        (2, Kernel(4, 8, 8), (8, 8), 0, 2),  # the level has no more frames
        (3, Kernel(1, 8, 8), (8, 8), 0, 1),
        (1, Kernel(1, 8, 4), (8, 8), 0, 0),
        (1, Kernel(1, 16, 4), (8, 8), 0.5, 0),  # 1 x 2 tokens of a frame, the lower half of each is padding
        (8, Kernel(8, 16, 16), (60, 104), 0, 0),  # the last row and column of tokens are padded, no more
        (16, Kernel(16, 32, 32), (60, 104), 0, 0),
    ],
)
def test_padding_and_whole_frames(
    level: int, kernel: Kernel, size: tuple[int, int], padding: float, whole_frames: int
) -> None:
    assert kernel_fit(Level(level, kernel), *size) == KernelFit(padding, whole_frames)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    ("order", "tail"), [("vanilla", "td"), ("endpoint", "td"), ("inverted", "ta"), ("inverted", "tc")]
)
def test_presets_fit_480p(compression: str, order: str, tail: str) -> None:
    assert misfits(from_parts(compression, order, tail=tail), 60, 104) == ()


def test_a_recipe_names_each_kernel_once_and_its_tails() -> None:
    assert misfits(parse("f1k1_x_f4k4f4k4f1k1_g9_f1k1f4k4_tc"), 8, 8) == (
        "k4 on 8x8 latents is one token for 4 whole frames",
        "tail tc at k4 on 8x8 latents is one token for a whole frame",
    )
    assert misfits(parse("tc_f8k8f1k1_g9"), 16, 8)[1].startswith(
        "tail tc at k8 on 16x8 latents is 50% padding"
    )
    assert [said[:7] for said in misfits(parse("ta_f1k1_g9"), 32, 32)] == ["tail ta"]
    assert misfits(parse("ta_f1k1_g9"), 32, 34) == ()
    assert misfits(parse("g9"), 1, 1) == ()
