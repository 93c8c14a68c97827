"""Pictures for notebooks: narrow and light, with the colours of what is drawn in few pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fp_lab.lab.report.notebook_image import inline


def drawn(path: Path) -> Path:
    """Photographic noise, and a red line 4 pixels high."""
    pixels = np.random.default_rng(0).integers(60, 200, (400, 1920, 1), dtype=np.uint8).repeat(3, 2)
    pixels[200:204] = (204, 0, 0)
    Image.fromarray(pixels).save(path)
    return path


def test_a_picture_becomes_narrow_and_keeps_its_shape(tmp_path: Path) -> None:
    path = drawn(tmp_path / "wide.png")
    assert inline(path).size == (900, 188)
    assert inline(path, width=480).size == (480, 100)
    assert inline(path, width=4000).size == (1920, 400)


def test_it_is_light_and_a_line_keeps_its_colour(tmp_path: Path) -> None:
    path = drawn(tmp_path / "wide.png")
    shown = inline(path, width=960)
    stored = io.BytesIO()
    shown.save(stored, "png")
    assert stored.tell() < path.stat().st_size / 10
    red = np.asarray(shown.convert("RGB"), dtype=int)[100:102].reshape(-1, 3).mean(0)
    assert np.abs(red - (204, 0, 0)).max() < 12


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"/missing\.png; fp-lab compare GRID --report"):
        inline(tmp_path / "missing.png")
