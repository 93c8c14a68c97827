import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import real_clip
from fp_data.carried_clips import CLIPS
from fp_data.clips import ClipsConfig, caption, probe, read_video, sample, scan, video_paths, write_mp4


def moving_square(frames: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A grey square that moves right by 2 pixels a frame over a smooth grey ramp."""
    ramp = np.linspace(40, 120, width)[None, None, :, None]
    video = np.broadcast_to(ramp, (frames, height, width, 3)).astype(np.uint8)
    for t, frame in enumerate(video):
        left = (2 * t) % (width - 16)
        frame[16:32, left : left + 16] = 220
    return video


def numbered(frames: int, side: int = 64) -> np.ndarray:
    """Flat frames, the grey level of frame t being 3 t."""
    return np.broadcast_to(
        np.arange(frames, dtype=np.uint8)[:, None, None, None] * 3, (frames, side, side, 3)
    )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_mp4(folder / "a.mp4", numbered(80), fps=10)
    write_mp4(folder / "deep" / "b.mp4", moving_square(48), fps=25)
    (folder / "a.txt").write_text("a grey\n  screen\n", encoding="utf-8")
    (folder / "notes.md").write_text("not a video", encoding="utf-8")
    return folder


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    video = moving_square(20)
    write_mp4(tmp_path / "made" / "v.mp4", video, fps=12.5)
    read = np.stack(list(read_video(tmp_path / "made" / "v.mp4")))
    assert read.shape == video.shape
    assert read.dtype == np.uint8
    assert psnr(read, video) > 38
    info = probe(tmp_path / "made" / "v.mp4")
    assert (info.width, info.height, info.frames, info.fps) == (96, 64, 20, 12.5)
    assert [f.name for f in (tmp_path / "made").iterdir()] == ["v.mp4"]


def test_colours_survive(tmp_path: Path) -> None:
    colours = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [200, 100, 50]], dtype=np.uint8)
    write_mp4(tmp_path / "v.mp4", np.broadcast_to(colours[:, None, None], (4, 32, 32, 3)), fps=5)
    for colour, frame in zip(colours, read_video(tmp_path / "v.mp4"), strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 4


def test_grey_levels_are_not_darkened_by_scaling(folder: Path) -> None:
    expected = 3.0 * np.arange(80)
    for size in (None, (32, 32), (80, 80)):
        levels = np.array([frame.mean() for frame in read_video(folder / "a.mp4", size=size)])
        assert np.abs(levels - expected).max() <= 1
        assert abs(np.mean(levels - expected)) < 0.5


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    write_mp4(tmp_path / "one.mp4", moving_square(10), fps=10)
    write_mp4(tmp_path / "two.mp4", iter(moving_square(10)), fps=10)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_odd_sizes_are_padded_by_repeating_the_edge(tmp_path: Path) -> None:
    video = moving_square(4, height=33, width=41)
    write_mp4(tmp_path / "odd.mp4", video, fps=10)
    read = np.stack(list(read_video(tmp_path / "odd.mp4")))
    assert read.shape == (4, 34, 42, 3)
    assert psnr(read[:, :33, :41], video) > 35
    assert np.abs(read[:, :, 41].astype(int) - read[:, :, 40]).max() <= 6


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "v.mp4"
    write_mp4(target, moving_square(3), fps=10)
    before = target.read_bytes()
    with pytest.raises(ValueError, match=r"got .*uint8 \(32, 32, 3\), expected uint8 \(64, 96, 3\)"):
        write_mp4(target, [*moving_square(3), np.zeros((32, 32, 3), np.uint8)], fps=10)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_no_frames_are_no_video(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v\.mp4: got no frames"):
        write_mp4(tmp_path / "v.mp4", [], fps=10)


@given(start=st.integers(0, 70), length=st.integers(1, 10), step=st.integers(1, 4))
def test_a_window_is_the_same_as_that_part_of_the_whole(
    folder: Path, start: int, length: int, step: int
) -> None:
    stop = min(start + length, 80)
    frames = read_video(probe(folder / "a.mp4"), start, stop, step)
    assert [round(frame.mean() / 3) for frame in frames] == list(range(start, stop, step))


def test_a_window_past_the_end_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.mp4: .*\b80 frames.*\b90\b"):
        list(read_video(folder / "a.mp4", 75, 90))


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_seeking_in_real_clips_is_exact(clip) -> None:
    info = probe(real_clip(clip.name))
    assert (info.width, info.height, info.frames) == (clip.width, clip.height, clip.frames)
    assert info.fps == pytest.approx(clip.fps)
    whole = list(read_video(info.path, size=(36, 64)))
    for start in (1, info.frames // 3, info.frames - 5):
        window = list(read_video(info, start, start + 5, 2, size=(36, 64)))
        for frame, expected in zip(window, whole[start : start + 5 : 2], strict=True):
            assert np.array_equal(frame, expected)


def test_scan_finds_videos_in_the_order_of_their_names(folder: Path) -> None:
    found = scan(ClipsConfig(str(folder), frames=10))
    assert [Path(video.path).name for video in found.usable] == ["a.mp4", "b.mp4"]
    assert found.skipped == ()


def _garbage(whole: bytes) -> bytes:
    return b"this is not a video at all" * 50


def _cut_off(whole: bytes) -> bytes:
    return whole[: len(whole) * 2 // 3]


def _damaged_inside(whole: bytes) -> bytes:
    start = whole.index(b"mdat") + 2000
    noise = np.random.default_rng(0).bytes(1500)
    return whole[:start] + noise + whole[start + len(noise) :]


def _empty(whole: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [_garbage, _cut_off, _damaged_inside, _empty])
def test_a_corrupt_file_is_named_and_skipped(tmp_path: Path, damage) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    write_mp4(tmp_path / "good.mp4", noise, fps=10)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(damage((tmp_path / "good.mp4").read_bytes()))
    with pytest.warns(UserWarning, match=r"skipped .*bad\.mp4: "):
        found = scan(ClipsConfig(str(tmp_path), size=32, frames=10))
    assert [video.path for video in found.usable] == [str(tmp_path / "good.mp4")]
    assert [skipped.path for skipped in found.skipped] == [str(bad)]
    assert found.skipped[0].reason


def test_a_short_video_is_skipped_with_the_lengths(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"b\.mp4: has 36 frames .* needs 41"):
        found = scan(ClipsConfig(str(folder), frames=21, stride=2))
    assert [Path(video.path).name for video in found.usable] == ["a.mp4"]


def test_a_folder_with_no_usable_video_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello", encoding="utf-8")
    (tmp_path / "broken.avi").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"(?s)2 files, 1 of them.*broken\.avi: "):
        scan(ClipsConfig(str(tmp_path)))
    with pytest.raises(ValueError, match=r"got folder='.*nowhere'"):
        scan(ClipsConfig(str(tmp_path / "nowhere")))


def test_a_clip_whose_caption_is_not_utf_8_is_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.mp4", tmp_path / "good.mp4")
    shutil.copy(folder / "a.mp4", tmp_path / "worded.mp4")
    (tmp_path / "worded.txt").write_bytes(b"un caf\xe9")
    with pytest.warns(UserWarning, match=r"worded\.mp4: .*worded\.txt: .*not UTF-8"):
        found = scan(ClipsConfig(str(tmp_path), size=32, frames=8))
    assert [Path(video.path).name for video in found.usable] == ["good.mp4"]
    assert [Path(skip.path).name for skip in found.skipped] == ["worded.mp4"]


def test_an_item_is_decided_by_its_seed(folder: Path) -> None:
    config = ClipsConfig(str(folder), size=32, frames=8, stride=2)
    videos = scan(config).usable
    first, again = sample(videos, config, seed=5), sample(videos, config, seed=5)
    assert first.frames.shape == (8, 32, 32, 3)
    assert np.array_equal(first.frames, again.frames)
    assert len({(clip.video.path, clip.start) for clip in (sample(videos, config, s) for s in range(12))}) > 6


def test_a_sample_is_the_window_that_it_names(folder: Path) -> None:
    config = ClipsConfig(str(folder), size=32, frames=6, stride=3)
    only = [video for video in scan(config).usable if video.path.endswith("a.mp4")]
    clip = sample(only, config, seed=3)
    levels = [round(frame.mean() / 3) for frame in clip.frames]
    assert levels == list(range(clip.start, clip.start + 18, 3))
    assert clip.caption == "a grey screen"


def test_crops_stay_inside_at_every_zoom(folder: Path) -> None:
    for zoom in (1, 4):
        config = ClipsConfig(str(folder), size=48, frames=2, zoom=zoom)
        videos = scan(config).usable
        assert {sample(videos, config, seed).frames.shape for seed in range(8)} == {(2, 48, 48, 3)}
    larger_than_the_file = ClipsConfig(str(folder), size=80, frames=2)
    assert sample(videos, larger_than_the_file, seed=0).frames.shape == (2, 80, 80, 3)


def test_held_out_windows_are_never_training_windows(folder: Path) -> None:
    train = ClipsConfig(str(folder), size=32, frames=4)
    held_out = replace(train, split="held_out")
    videos = scan(train).usable[:1]
    trained = {t for seed in range(15) for t in window(sample(videos, train, seed))}
    tested = {t for seed in range(15) for t in window(sample(videos, held_out, seed))}
    assert max(trained) < 60 <= min(tested)
    assert max(tested) < 80


def window(clip) -> range:
    return range(clip.start, clip.start + len(clip.frames))


def test_captions_lie_beside_the_video(tmp_path: Path) -> None:
    assert caption(tmp_path / "v.mp4") == ""
    (tmp_path / "v.txt").write_bytes(b"\xef\xbb\xbfa dog\r\n runs\r\n")
    assert caption(tmp_path / "v.mp4") == "a dog runs", "a byte order mark is no part of it"
    (tmp_path / "v.txt").write_bytes("\xff\xfe".encode("latin-1"))
    with pytest.raises(ValueError, match=r"v\.txt: .*UTF-8.* 0x"):
        caption(tmp_path / "v.mp4")


def test_a_caption_that_is_no_file_is_said_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"a\.txt: .*\bpipe, expected"):
        caption(tmp_path / "a.mp4")
    (tmp_path / "b.txt").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"b\.txt: .*: No such file"):
        caption(tmp_path / "b.mp4")


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"stride": 0}, {"size": 10**9 + 1}, {"zoom": 0.5}, {"held_out": 1.0}]
)
def test_a_config_that_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}(: got|=)"):
        ClipsConfig("videos", **wrong)


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    for place in ("vids/a/one.mp4", "disk/b/two.mp4", "disk/b/.hidden.mp4"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    folder = tmp_path / "vids"
    (folder / "b").symlink_to("../disk/b")
    (tmp_path / "disk" / "b" / "up").symlink_to(folder)
    (folder / "again").symlink_to("a")  # a folder keeps the name that it has here
    (folder / "round").symlink_to("round")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    found = [path.relative_to(folder).as_posix() for path in video_paths(folder)]
    assert found == ["a/one.mp4", "b/two.mp4", "gone.mp4"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b.mp4").touch()
    scandir = os.scandir

    def refusing(place: Path) -> object:
        if place.name == "a":
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.warns(UserWarning, match=r"passed over .*a: Permission denied"):
        assert video_paths(tmp_path) == (tmp_path / "b.mp4",)


def test_a_caption_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    os.truncate(tmp_path / "a.txt", 1 << 30)
    with pytest.raises(ValueError, match=r"a\.txt: .* 1073741824 bytes, expected 1048576"):
        caption(tmp_path / "a.mp4")


def test_frames_of_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mp4(tmp_path / "small.mp4", moving_square(8), 8)
    write_mp4(tmp_path / "vast.mp4", moving_square(8, 128, 256), 8)
    monkeypatch.setattr("fp_data.open_video.MEGAPIXELS", 0.02)
    with pytest.warns(UserWarning, match=r"vast.mp4: its frames of 256x128 are .* megapixels, expected 0.02"):
        found = scan(ClipsConfig(str(tmp_path), size=32, frames=2))
    assert [Path(video.path).name for video in found.usable] == ["small.mp4"]
