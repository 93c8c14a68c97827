"""Video files as cameras, phones and editors write them: what a player shows is what is read."""

import errno
import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

import bad_videos
from fp_data.read_video import glance, probe, read_video, write_mp4

RED = (200, 50, 20)
BT709, BT601 = (0.2126, 0.7152, 0.0722), (0.299, 0.587, 0.114)

EXIF = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""EXIF's orientations as display matrices (a, b, c, d) of ISO 14496-12."""


def marked(height: int = 32, width: int = 64) -> np.ndarray:
    """A picture that no turn and no mirror leaves as it is."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 250
    picture[: height // 2, width // 2 :] = 120
    return picture


def as_shown(picture: np.ndarray, orientation: int) -> np.ndarray:
    """By Pillow."""
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def first_frame(path: Path) -> np.ndarray:
    return next(iter(read_video(path)))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("orientation", EXIF)
def test_the_whole_display_matrix_counts(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "v.mp4"
    write_mp4(path, [marked()] * 2, fps=10)
    content, one = path.read_bytes(), 1 << 16
    a, b, c, d = (one * factor for factor in EXIF[orientation])
    at = content.index(struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30), content.index(b"tkhd"))
    path.write_bytes(content[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[at + 36 :])
    expected = as_shown(marked(), orientation)
    assert distance(first_frame(path), expected) < 4
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", EXIF)
def test_all_exif_orientations_count(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"picture: 1.{ending}"
    Image.fromarray(marked()).save(path, exif=exif)
    assert distance(first_frame(path), as_shown(marked(), orientation)) < 4


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_are_shown_as_they_are_meant(tmp_path: Path, turned: bool) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 8)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        if turned:
            stream.set_display_rotation(90)
        frame = av.VideoFrame.from_ndarray(marked(), format="rgb24").reformat(format="yuv420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    size = (128, 32) if turned else (32, 128)
    info = probe(path)
    assert (info.height, info.width) == size
    assert first_frame(path).shape[:2] == size
    if not turned:
        assert distance(first_frame(path), marked(32, 128)) < 4


@pytest.mark.parametrize(("matrix", "weights"), [("ITU709", BT709), ("ITU601", BT601)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_read_by_the_matrix_and_range_that_the_file_says(
    tmp_path: Path, matrix: str, weights: tuple[float, float, float], full: bool
) -> None:
    """Y', Cb and Cr by their definition in BT.709 and BT.601, so that PyAV's own way there is not asked."""
    red, _, blue = weights
    luma = float(np.dot(weights, RED)) / 255
    planes = [luma, (RED[2] / 255 - luma) / (2 - 2 * blue), (RED[0] / 255 - luma) / (2 - 2 * red)]
    scale, offset = ((255, 255, 255), (0, 128, 128)) if full else ((219, 224, 224), (16, 128, 128))
    values = [round(plane * by + add) for plane, by, add in zip(planes, scale, offset, strict=True)]
    stored = np.repeat(values, 16 * 16).astype(np.uint8).reshape(48, 16)
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 8, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv444p"
        stream.codec_context.colorspace = av.video.reformatter.Colorspace[matrix]
        stream.codec_context.color_range = 2 if full else 1
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored.reshape(3, 16, 16), format="yuv444p")))
        container.mux(stream.encode())
    assert np.abs(first_frame(path)[8, 8].astype(int) - RED).max() <= 2


@pytest.mark.parametrize(("height", "matrix"), [(64, 5), (720, 1)])
def test_what_is_written_says_its_matrix_and_range(tmp_path: Path, height: int, matrix: int) -> None:
    path = tmp_path / "v.mp4"
    write_mp4(path, np.full((2, height, 64, 3), RED, np.uint8), 16)
    with av.open(str(path)) as container:
        told = container.streams.video[0].codec_context
        assert (told.colorspace, told.color_range) == (matrix, 1)
        assert (told.color_primaries, told.color_trc) == (1, 1)
        stored = next(container.decode(video=0)).to_ndarray(format="yuv420p")
    weights = BT709 if matrix == 1 else BT601
    luma = float(np.dot(weights, RED)) / 255
    assert abs(stored[8, 8] - (16 + 219 * luma)) <= 2
    blues = stored[height:].reshape(2, height // 2, 32)[0]
    assert abs(blues[8, 8] - (128 + 224 * (RED[2] / 255 - luma) / (2 - 2 * weights[2]))) <= 2
    assert np.abs(first_frame(path)[8, 8].astype(int) - RED).max() <= 3


def test_a_header_that_promises_more_frames_than_there_are_is_not_believed(tmp_path: Path) -> None:
    path = bad_videos.write(tmp_path / "v.avi", bad_videos.moving(12), codec="mpeg4", fps=10)
    content = bytearray(path.read_bytes())
    for place in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        assert struct.unpack_from("<I", content, place) == (12,)
        struct.pack_into("<I", content, place, 13)
    path.write_bytes(content)
    assert probe(path).frames == glance(path).frames == len(list(read_video(path))) == 12


def test_frames_that_an_edit_list_cuts_are_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_mp4(path, bad_videos.moving(20), 10)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    lasts, begins = struct.unpack_from(">Ii", content, at)
    with av.open(str(path)) as container:
        ticks = int(1 / (container.streams.video[0].time_base * 10))  # of a frame
    struct.pack_into(">Ii", content, at, lasts * 13 // 20, begins + 7 * ticks)
    path.write_bytes(content)
    assert probe(path).frames == glance(path).frames == len(list(read_video(path))) == 13


@pytest.mark.parametrize("kept", [0.97, 0.6])
@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_a_file_that_is_cut_off_is_still_refused(tmp_path: Path, ending: str, kept: float) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), np.uint8)
    path = tmp_path / f"v.{ending}"
    if ending == "mp4":
        write_mp4(path, frames, 10)
    else:
        bad_videos.write(path, list(frames), codec="mpeg4", fps=10)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    for look in (glance, probe):
        with pytest.raises(ValueError, match=r"cut off|cannot be decoded|is damaged"):
            look(path)


@pytest.mark.parametrize("ending", ["mkv", "webm"])
def test_the_mean_rate_is_measured_where_frames_do_not_follow_the_stated_one(
    tmp_path: Path, ending: str
) -> None:
    times = [0, 33, 67, 100, 133, 2100, 2133]
    codec = "libvpx" if ending == "webm" else "ffv1"
    path = bad_videos.write(tmp_path / f"v.{ending}", bad_videos.moving(7), codec=codec, fps=30, times=times)
    seen = glance(path)
    assert not seen.steady
    assert seen.fps == probe(path).fps == pytest.approx(6 / 2.133, abs=0.003)


def test_a_steady_rate_is_the_stated_one_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", Fraction(30000, 1001))  # Matroska rounds times to 1/1000 s
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in bad_videos.moving(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert glance(path).fps == probe(path).fps == 30000 / 1001


@pytest.mark.parametrize("name", [b"scene: one.mp4", b"12:30:05.mp4", b"caf\xe9.mp4", b"a%20b?.mp4"])
def test_a_name_may_hold_whatever_a_file_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    write_mp4(path, bad_videos.moving(3), 8)
    assert [os.fsencode(found.name) for found in tmp_path.iterdir()] == [name]
    assert probe(path).frames == glance(path).frames == len(list(read_video(path))) == 3


def test_a_name_of_255_bytes_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'é' * 125}x.mp4"
    write_mp4(path, bad_videos.moving(2), 8)
    assert probe(path).frames == 2


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("pipe", "pipe"),
        ("device", "device"),
        ("loop", os.strerror(errno.ELOOP)),
        ("sparse", f" {1 << 40} bytes"),
        ("dangling", os.strerror(errno.ENOENT)),
    ],
)
def test_what_no_decoder_should_wait_for_is_refused_at_once(tmp_path: Path, kind: str, fault: str) -> None:
    path = tmp_path / "v.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path, "dangling": tmp_path / "nowhere"}[kind])
    for look in (glance, probe, lambda path: list(read_video(path))):
        with pytest.raises(ValueError, match=rf"v\.mp4: .*{fault}"):
            look(path)
