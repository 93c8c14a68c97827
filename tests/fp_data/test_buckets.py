import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fp_data.buckets import Bucket, BucketsConfig, buckets, nearest, place, read_bucket
from fp_data.clips import probe, write_mp4

# diffusers_helper/bucket_tools.py of the FramePack release, resolution 640
RELEASED = (
    (416, 960),
    (448, 864),
    (480, 832),
    (512, 768),
    (544, 704),
    (576, 672),
    (608, 640),
    (640, 608),
    (672, 576),
    (704, 544),
    (768, 512),
    (832, 480),
    (864, 448),
    (960, 416),
)

sides = st.integers(1, 4000)
configs = st.builds(
    BucketsConfig,
    area=st.integers(64 * 64, 1920 * 1080),
    unit=st.sampled_from([8, 16, 32, 64]),
    aspect=st.floats(1.5, 4),
)


def options(config: BucketsConfig) -> tuple[Bucket, ...]:
    try:
        return buckets(config)
    except ValueError:
        assume(False)
        raise


def test_the_defaults_are_the_sizes_of_the_release() -> None:
    assert tuple((bucket.height, bucket.width) for bucket in buckets(BucketsConfig())) == RELEASED


@given(config=configs)
def test_sizes_fit_the_area_in_units_as_nearly_as_they_can(config: BucketsConfig) -> None:
    found = options(config)
    assert len(set(found)) == len(found)
    for bucket in found:
        long, short = max(bucket.height, bucket.width), min(bucket.height, bucket.width)
        assert bucket.height % config.unit == bucket.width % config.unit == 0
        assert config.area * long / (long + config.unit) < long * short <= config.area
        assert long / short <= config.aspect
    assert {(b.width, b.height) for b in found} == {(b.height, b.width) for b in found}


@given(config=configs)
def test_no_size_is_missed(config: BucketsConfig) -> None:
    found = options(config)
    unit, area = config.unit, config.area
    for height in range(unit, area // unit + 1, unit):
        for width in (area // height // unit * unit, area // height // unit * unit - unit):
            grows = min(height * (width + unit), (height + unit) * width) <= area
            wanted = (
                width > 0
                and not grows
                and max(height, width) <= config.aspect * min(height, width) * (1 - 1e-9)
            )
            assert not wanted or Bucket(height, width) in found


@given(height=sides, width=sides)
def test_the_nearest_in_log_aspect_is_chosen(height: int, width: int) -> None:
    found = buckets(BucketsConfig())
    chosen = nearest(found, height, width)
    distances = [abs(math.log(height / width) - math.log(b.height / b.width)) for b in found]
    assert distances[found.index(chosen)] == pytest.approx(min(distances))


@given(height=sides, width=sides, factor=st.integers(2, 9))
def test_the_choice_depends_on_shape_alone_and_turns_with_the_picture(
    height: int, width: int, factor: int
) -> None:
    found = buckets(BucketsConfig())
    chosen = nearest(found, height, width)
    assert nearest(found, factor * height, factor * width) == chosen
    if height != width:
        assert nearest(found, width, height) == Bucket(chosen.width, chosen.height)


def test_a_size_is_its_own_bucket_and_a_square_goes_to_the_wider_of_two() -> None:
    found = buckets(BucketsConfig())
    assert [nearest(found, bucket.height, bucket.width) for bucket in found] == list(found)
    assert nearest(found, 500, 500) == Bucket(608, 640)
    assert nearest(found, 720, 1280) == Bucket(480, 832)
    assert nearest(found, 1, 4000) == Bucket(416, 960)


@given(height=sides, width=sides, bucket=st.sampled_from(RELEASED))
def test_a_placed_picture_covers_its_bucket_as_little_as_possible(
    height: int, width: int, bucket: tuple[int, int]
) -> None:
    at = place(height, width, Bucket(*bucket))
    spare = at.height - bucket[0], at.width - bucket[1]
    assert min(spare) == 0
    assert 0 <= spare[0] - 2 * at.top <= 1
    assert 0 <= spare[1] - 2 * at.left <= 1
    scale = max(bucket[0] / height, bucket[1] / width)
    assert (at.height, at.width) == pytest.approx((height * scale, width * scale), abs=0.51)


def test_frames_are_read_at_the_size_of_the_bucket_around_their_centre(tmp_path: Path) -> None:
    video = np.zeros((6, 64, 160, 3), np.uint8)
    video[:, :, 72:88] = 240  # a bar in the middle
    video[:, :, :40] = 120  # cut away
    write_mp4(tmp_path / "v.mp4", video, fps=10)
    frames = list(read_bucket(probe(tmp_path / "v.mp4"), Bucket(32, 32), 1, 6, 2))
    assert [frame.shape for frame in frames] == [(32, 32, 3)] * 3
    for frame in frames:
        levels = frame.mean((0, 2))
        assert np.abs(levels - levels[::-1]).max() < 4
        assert levels[14:18].min() > 200
        assert levels[[0, 1, 30, 31]].max() < 10


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="got area=900, unit=32"):
        BucketsConfig(area=900)
    with pytest.raises(ValueError, match=r"got aspect=0\.5, expected 1\b"):
        BucketsConfig(aspect=0.5)
    with pytest.raises(ValueError, match=r"\b2048 pixels.* 32 .* 1\.5\b"):
        buckets(BucketsConfig(area=32 * 64, aspect=1.5))
    with pytest.raises(ValueError, match=r"got 0 buckets.*\b4x4\b"):
        nearest((), 4, 4)
    with pytest.raises(ValueError, match=r"got 1 buckets.*\b0x4\b"):
        nearest((Bucket(32, 32),), 0, 4)
