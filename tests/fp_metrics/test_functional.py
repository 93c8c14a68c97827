"""Each formula against an independent implementation, an identity or hand-made arithmetic."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from skimage.feature import hog as skimage_hog
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from fp_metrics.functional.colour import (
    bhattacharyya,
    colour_histogram,
    colourful_contrast,
    colourfulness,
    luma,
    rms_contrast,
)
from fp_metrics.functional.features import cosine, hog, shrink
from fp_metrics.functional.fidelity import energy_agreement, psnr, ssim
from fp_metrics.functional.flow import dis_flow, middle_frame, middle_frame_agreement, top_motion
from fp_metrics.functional.objects import centred, nearest_colour, sight, smoothness, soft_iou
from fp_metrics.functional.sharpness import denoised_sharpness, haar_noise, sobel, tenengrad


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """Two smooth random pictures, ``(2, 3, 40, 48)``."""
    rough = np.random.default_rng(3).random((2, 3, 40, 48))
    smooth = ndimage.gaussian_filter(rough, (0, 0, 1.5, 1.5), mode="wrap")
    low, high = smooth.min(), smooth.max()
    return torch.from_numpy((smooth - low) / (high - low)).float()


def test_luma_is_opencvs_grey(frames: Tensor) -> None:
    expected = cv2.cvtColor(frames[0].movedim(0, -1).numpy(), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(luma(frames)[0], expected, atol=1e-6)


def test_sobel_is_opencvs(frames: Tensor) -> None:
    grey = luma(frames)[1]
    for axis, order in enumerate([(1, 0), (0, 1)]):
        expected = cv2.Sobel(
            grey.numpy(), cv2.CV_32F, *order, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE
        )
        np.testing.assert_allclose(sobel(grey[None])[0, axis], expected, atol=1e-6)
    assert tenengrad(grey[None]).item() == pytest.approx(float(sobel(grey[None]).square().sum(1).mean()))


def test_a_ramp_has_its_slope_as_gradient() -> None:
    ramp = (torch.arange(32.0) * 0.02).expand(1, 16, 32)
    assert tenengrad(ramp[..., 1:-1]).item() == pytest.approx(0.02**2, rel=0.1)


def test_haar_noise_is_the_median_of_the_diagonal_detail(frames: Tensor) -> None:
    grey = luma(frames)
    kernel = np.array([[1.0, -1.0], [-1.0, 1.0]]) / 2
    for one, estimate in zip(grey.numpy(), haar_noise(grey), strict=True):
        detail = np.abs(signal.convolve2d(one, kernel, mode="valid")[::2, ::2]).ravel()
        lower_median = np.sort(detail)[(len(detail) - 1) // 2]
        assert float(estimate) == pytest.approx(lower_median / 0.6745, rel=1e-4)


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_haar_noise_finds_the_deviation_of_white_noise(sigma: float) -> None:
    noise = torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0)) * sigma
    assert haar_noise(noise).item() == pytest.approx(sigma, rel=0.05)
    # the gain with which noise enters the gradient, on which denoised_sharpness rests
    assert tenengrad(noise).item() == pytest.approx(0.375 * sigma**2, rel=0.05)


def test_noise_alone_is_not_sharp() -> None:
    noise = 0.5 + 0.1 * torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(1))
    edge = (torch.arange(128) >= 64).float().expand(1, 128, 128)
    assert denoised_sharpness(noise).item() < 0.08 < 0.4 < denoised_sharpness(edge).item()


@pytest.mark.parametrize("sigma", [0.025, 0.05, 0.1])
def test_noise_costs_its_share_of_sharpness_and_no_more(sigma: float) -> None:
    wave = 0.5 + 0.4 * torch.sin(torch.arange(128) / 4).expand(1, 128, 128)
    noisy = wave + sigma * torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(1))
    clean = denoised_sharpness(wave) * (0.05 + haar_noise(wave)) / 0.05
    assert (denoised_sharpness(noisy) / clean).item() == pytest.approx(0.05 / (0.05 + sigma), rel=0.1)


def test_colourfulness_golden() -> None:
    halves = torch.zeros(1, 3, 4, 4)
    halves[:, 0, :, :2] = 1  # red and blue halves: rg = 1 | 0, yb = 0.5 | -1
    halves[:, 2, :, 2:] = 1
    expected = math.hypot(0.5, 0.75) + 0.3 * math.hypot(0.5, -0.25)
    assert colourfulness(halves).item() == pytest.approx(expected, rel=1e-6)
    assert colourfulness(torch.full((1, 3, 4, 4), 0.6)).item() == pytest.approx(0, abs=1e-6)


def test_contrast_is_the_deviation_of_luma(frames: Tensor) -> None:
    expected = cv2.cvtColor(frames[1].movedim(0, -1).numpy(), cv2.COLOR_RGB2GRAY).std()
    assert rms_contrast(frames)[1].item() == pytest.approx(float(expected), rel=1e-4)
    assert colourful_contrast(torch.full((1, 3, 4, 4), 0.5)).item() == pytest.approx(0, abs=1e-6)


def test_colour_histogram_counts_pixels_at_bin_centres() -> None:
    levels = np.random.default_rng(0).integers(0, 5, (200, 3))
    expected, _ = np.histogramdd(levels, bins=[np.arange(6) - 0.5] * 3)
    pixels = torch.from_numpy(levels / 4).float().T[None, :, None]
    np.testing.assert_allclose(colour_histogram(pixels)[0], expected.ravel() / 200, atol=1e-6)


def test_colour_histogram_shares_between_centres_and_weighs() -> None:
    between = torch.tensor([0.125, 0.0, 1.0]).reshape(1, 3, 1, 1)
    histogram = colour_histogram(between).reshape(5, 5, 5)
    assert histogram[0, 0, 4].item() == pytest.approx(0.5)
    assert histogram[1, 0, 4].item() == pytest.approx(0.5)
    two = torch.tensor([[0.0, 1.0]]).expand(3, 1, 2)[None]
    weighted = colour_histogram(two, torch.tensor([[[1.0, 3.0]]])).reshape(5, 5, 5)
    assert weighted[4, 4, 4].item() == pytest.approx(0.75)
    assert colour_histogram(two, torch.zeros(1, 1, 2)).sum().item() == 0


def test_bhattacharyya_golden() -> None:
    first = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])
    second = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.36, 0.64]])
    np.testing.assert_allclose(bhattacharyya(first, second), [1, 0], atol=1e-6)
    assert bhattacharyya(first[:1], second[1:]).item() == pytest.approx(math.sqrt(0.75 * 0.36))


def test_hog_is_scikit_images(frames: Tensor) -> None:
    grey = luma(frames)
    for one, ours in zip(grey.double().numpy(), hog(grey.double()), strict=True):
        expected = skimage_hog(
            one, orientations=9, pixels_per_cell=(10, 12), cells_per_block=(4, 4), block_norm="L2"
        )
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_cosine_and_shrink() -> None:
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    assert cosine(a, b).item() == pytest.approx(24 / 25)
    assert cosine(a, torch.zeros(1, 2)).item() == 0
    assert cosine(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 1
    assert shrink(torch.zeros(1, 3, 128, 256), 64).shape == (1, 3, 64, 128)
    assert shrink(torch.zeros(1, 3, 32, 48), 64).shape == (1, 3, 32, 48)


def test_psnr_and_ssim_are_scikit_images(frames: Tensor) -> None:
    noisy = (frames + 0.05 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(2))).clamp(
        0, 1
    )
    for index in range(2):
        one, two = noisy[index].movedim(0, -1).numpy(), frames[index].movedim(0, -1).numpy()
        expected = peak_signal_noise_ratio(two, one, data_range=1.0)
        assert psnr(noisy, frames)[index].item() == pytest.approx(expected, rel=1e-5)
        full = structural_similarity(
            one,
            two,
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(noisy, frames)[index].item() == pytest.approx(full, abs=2e-2)  # borders are cut otherwise
    assert psnr(frames, frames).tolist() == [100, 100]
    with pytest.raises(ValueError, match=r"11x11, got \(8, 8\)"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_energy_agreement_falls_on_both_sides() -> None:
    measured, expected = torch.tensor([1.0, 4.0, 0.25, 0.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(energy_agreement(measured, expected), [1, 0.5, 0.5, 1])


def test_flow_finds_a_known_shift(frames: Tensor) -> None:
    big = ndimage.zoom(frames[0].numpy(), (1, 2, 2), order=1)
    moved = torch.from_numpy(ndimage.shift(big, (0, 1, 3), order=1, mode="nearest")).clamp(0, 1)
    flow = dis_flow(torch.from_numpy(big).clamp(0, 1), moved)
    inner = flow[:, 12:-12, 12:-12].flatten(1).median(1).values
    np.testing.assert_allclose(inner, [3, 1], atol=0.15)
    with pytest.raises(ValueError, match=r"16x16, got \(8, 40\)"):
        dis_flow(torch.zeros(3, 8, 40), torch.zeros(3, 8, 40))


def test_middle_frame_of_a_steady_motion(video: Tensor) -> None:
    average = (video[2] + video[4]) / 2
    by_flow = middle_frame(video[2], video[4])
    assert (by_flow - video[3]).abs().mean() < 0.5 * (average - video[3]).abs().mean()
    assert middle_frame_agreement(video[2], video[2], video[2]).item() == pytest.approx(1, abs=1e-6)


def test_top_motion_golden() -> None:
    flow = torch.zeros(2, 10, 10)
    flow[:, 0, :5] = torch.tensor([[3.0], [4.0]])
    assert top_motion(flow).item() == 5  # exactly the 5 % that move
    assert top_motion(flow, share=0.10).item() == 2.5


def test_sight_finds_area_and_centre_of_a_square() -> None:
    background = torch.full((3, 40, 40), 0.3)
    frame = background.clone()
    frame[0, 10:20, 14:30] = 0.9
    frame[:, 35, 35] = 1  # a speck is no object
    frame[0, 14:16, 18:20] = 0.3  # a hole is filled
    seen = sight(frame, background)
    assert seen.area == pytest.approx(160, abs=8)
    np.testing.assert_allclose(seen.centre, [21.5, 14.5], atol=0.05)
    nothing = sight(background, background)
    assert nothing.area == 0
    assert math.isnan(nothing.centre[0])


def test_sight_is_not_misled_by_a_background_that_changed_as_a_whole() -> None:
    background = torch.full((3, 40, 40), 0.3)
    frame = background + 0.1
    frame[0, 10:20, 14:30] = 0.95
    assert sight(frame, background).area == pytest.approx(160, abs=8)


def test_centred_moves_a_mask_to_the_middle() -> None:
    mask = torch.zeros(21, 21, dtype=torch.bool)
    mask[3:6, 10:15] = True
    moved = centred(mask, (12.0, 4.0))
    assert torch.nonzero(moved).float().mean(0).tolist() == [10, 10]
    assert soft_iou(moved, moved) == 1
    assert soft_iou(moved, torch.zeros(21, 21)) == 0
    half = centred(mask, (12.5, 4.0))
    assert soft_iou(moved, half) == pytest.approx((3 * 4.5) / (3 * 5.5), rel=1e-5)


def test_smoothness_golden() -> None:
    steady = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    jump = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]])
    bounce = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert smoothness(steady, 1.0) == 1
    assert smoothness(jump, 1.0) == pytest.approx(1 / 3)
    assert smoothness(bounce, 1.0) == pytest.approx(1 / 3)
    assert smoothness(bounce, 1.0, may_turn=True) == 1


def test_nearest_colour() -> None:
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert nearest_colour(torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.3, 0.8]]), colours).tolist() == [0, 1]
