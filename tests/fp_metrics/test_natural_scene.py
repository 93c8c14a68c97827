"""NIQE and BRISQUE against basicsr, OpenCV and libsvm, whose numbers stand here as tables.

To redo them: save what `pictures` returns with `np.save`. `NIQE` is `calculate_niqe(picture, 0, "HW")` by
basicsr/metrics/niqe.py in the sdist of basicsr 1.4.2, `NIQE_OF_PHOTOGRAPHS` is
`calculate_niqe(picture[..., ::-1], 0)` of scikit-image's pictures. `FEATURES` are
`cv2.quality.QualityBRISQUE_computeFeatures(picture)` in the environment that benchmarks/clarity.py describes.
`SCORES` are what libsvm-official 3.37.0 predicts with the artifact from OpenCV's features, uncut:

    x, _ = svmutil.gen_svm_nodearray(scaled.tolist(), isKernel=False)
    svmutil.libsvm.svm_predict(svmutil.svm_load_model(path), x)

`python benchmarks/clarity.py --reference-python PATH` compares another picture with OpenCV and pyiqa.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from skimage.data import astronaut, chelsea, coffee
from sklearn.svm import SVR
from torch import Tensor

from fp_metrics.estimator import Estimator
from fp_metrics.families.offline.clarity import BrisqueClarity, NiqeClarity, load_brisque, load_niqe
from fp_metrics.functional import natural_scene
from fp_metrics.functional.brisque import HIGHEST, LOWEST, brisque_features, brisque_score
from fp_metrics.functional.natural_scene import fit_aggd, grey_levels, moments, neighbour_moments
from fp_metrics.functional.niqe import half, niqe, niqe_features, studio_levels
from fp_metrics.networks.libsvm import SupportVectorRegression
from fp_metrics.observer import Unmeasurable

CPU = torch.device("cpu")

Image = NDArray[np.uint8]

NIQE = {
    "sharp": 3.061183,
    "blurred": 6.138940,
    "noisy": 9.361576,
    "blocks": 6.799468,
    "odd": 3.016526,
    "half black": 15.319483,
}
"""Of basicsr 1.4.2 with NumPy 2.4 and SciPy 1.17. It works in float32: the last two digits are rounding."""
NIQE_OF_PHOTOGRAPHS = {
    "astronaut": (astronaut()[100:300, 150:360], 5.488939),
    "chelsea": (chelsea()[50:250, 100:310], 3.616292),
    "coffee": (coffee()[100:300, 200:410], 7.604205),
}
"""RGB crops of 200x210 pixels, and what basicsr 1.4.2 makes of them."""
SCORES = {
    "sharp": 4.136658,
    "blurred": 43.641484,
    "noisy": 61.755370,
    "blocks": 31.116561,
    "odd": -1.852978,
}
# fmt: off
FEATURES = {
    "sharp": (
        1.447000, 0.216593, 0.581000, 0.018562, 0.051356, 0.066646, 0.574000, 0.022676, 0.052060,
        0.071238, 0.581000, -0.013117, 0.065580, 0.054662, 0.589000, -0.018060, 0.066426, 0.051634,
        1.579000, 0.243094, 0.577000, 0.006079, 0.080308, 0.086288, 0.578000, 0.021498, 0.078213,
        0.100031, 0.587000, -0.014094, 0.088497, 0.074882, 0.595000, -0.031415, 0.096884, 0.066790,
    ),
    "blurred": (
        1.425000, 0.077590, 0.548000, 0.058445, 0.000824, 0.017083, 0.549000, 0.059740, 0.000801,
        0.017546, 0.581000, 0.048766, 0.001474, 0.014702, 0.583000, 0.046167, 0.001695, 0.014278,
        1.562000, 0.156445, 0.611000, 0.074557, 0.011401, 0.053238, 0.627000, 0.082077, 0.010452,
        0.056283, 0.616000, 0.034630, 0.021186, 0.041182, 0.601000, 0.022241, 0.025735, 0.039069,
    ),
    "noisy": (
        6.002000, 0.564914, 1.189000, -0.072524, 0.367619, 0.257779, 1.189000, -0.065935, 0.362852,
        0.262895, 1.150000, -0.046368, 0.353088, 0.281674, 1.149000, -0.047302, 0.354251, 0.281342,
        2.696000, 0.481223, 0.849000, -0.093001, 0.306093, 0.172819, 0.856000, -0.079157, 0.296971,
        0.183328, 0.842000, -0.018689, 0.245329, 0.218649, 0.841000, -0.020120, 0.245626, 0.216938,
    ),
    "blocks": (
        1.061000, 0.221931, 0.504000, -0.029985, 0.104244, 0.072010, 0.500000, -0.029622, 0.112702,
        0.079315, 0.507000, -0.035680, 0.096135, 0.060210, 0.512000, -0.040792, 0.096914, 0.056516,
        1.520000, 0.271062, 0.598000, -0.015077, 0.109302, 0.093216, 0.592000, 0.007715, 0.102752,
        0.111256, 0.599000, -0.021784, 0.104103, 0.081868, 0.603000, -0.037436, 0.111962, 0.073994,
    ),
    "odd": (
        2.006000, 0.233565, 0.657000, 0.028196, 0.053769, 0.076951, 0.652000, 0.027570, 0.056183,
        0.079339, 0.654000, -0.006108, 0.069313, 0.064209, 0.670000, -0.019212, 0.072468, 0.056842,
        2.129000, 0.270103, 0.641000, 0.008273, 0.091013, 0.099333, 0.651000, 0.020092, 0.089029,
        0.109515, 0.649000, -0.006978, 0.097474, 0.090534, 0.668000, -0.040363, 0.112472, 0.073237,
    ),
}
# fmt: on
"""Of OpenCV 4.10.0."""


@functools.cache
def pictures() -> dict[str, Image]:
    """Grey pictures made by whole numbers only: the same with every version of every library."""
    red, green, blue = np.moveaxis(astronaut().astype(np.int64), -1, 0)
    grey = (299 * red + 587 * green + 114 * blue + 500) // 1000
    blurred = grey
    for axis in (0, 1):
        around = np.pad(blurred, [(3, 3) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        taps = zip((1, 6, 15, 20, 15, 6, 1), range(7), strict=True)
        blurred = (sum(tap * around.take(range(i, i + 512), axis) for tap, i in taps) + 32) // 64
    noise = np.random.default_rng(0).integers(-20, 21, grey.shape)
    means = grey.reshape(64, 8, 64, 8).mean((1, 3)).astype(np.int64).repeat(8, 0).repeat(8, 1)
    made = {
        "sharp": grey,
        "blurred": blurred,
        "noisy": grey + noise,
        "blocks": means + (grey - means + 12) // 24 * 24,  # flat areas, whose numbers are rounding
        "odd": grey[3:404, :377],
        "half black": np.concatenate((grey[:192], np.zeros((192, 512), np.int64))),
    }
    return {name: picture.clip(0, 255).astype(np.uint8) for name, picture in made.items()}


def levels_of(picture: Image) -> Tensor:
    """Grey levels ``(1, h, w)``."""
    return torch.from_numpy(picture).float()[None]


@pytest.mark.parametrize("name", NIQE)
def test_niqe_is_basicsrs(name: str, offline_weights: object) -> None:
    value = niqe(levels_of(pictures()[name]), load_niqe(CPU))
    assert value.item() == pytest.approx(NIQE[name], rel=1e-4)


@pytest.mark.parametrize("name", NIQE_OF_PHOTOGRAPHS)
def test_niqe_of_a_frame_in_colour_is_basicsrs(name: str, offline_weights: object) -> None:
    picture, expected = NIQE_OF_PHOTOGRAPHS[name]
    estimator = NiqeClarity()
    estimator.update(torch.from_numpy(picture.copy()).movedim(-1, 0)[None] / 255)
    assert estimator.compute().score == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("picture", "published"), [(astronaut(), 3.09), (chelsea(), 2.63), (coffee(), 4.12)])
def test_niqe_of_whole_photographs_is_as_published(
    picture: Image, published: float, offline_weights: object
) -> None:
    estimator = NiqeClarity()
    estimator.update(torch.from_numpy(picture).movedim(-1, 0)[None] / 255)
    assert estimator.compute().score == pytest.approx(published, abs=0.3)


def test_studio_levels_go_from_16_to_235() -> None:
    """Values of ITU-R BT.601's colour bars at 100 %."""
    bars = torch.tensor(
        [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    )
    levels = studio_levels(bars.float().T[None, :, None])
    assert levels.flatten().tolist() == [235, 210, 170, 145, 106, 81, 41, 16]


def test_half_the_size_is_matlabs() -> None:
    """MATLAB's documented kernel, written out: cubic, twice as wide, beyond a border mirrored."""
    picture = np.random.default_rng(0).uniform(0, 255, (12, 20)).astype(np.float32)

    def halved(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        around = np.pad(rows, ((4, 4), (0, 0)), mode="symmetric")
        position = np.arange(len(around)) - 4
        away = np.abs(position - (2 * np.arange(len(rows) // 2) + 0.5)[:, None]) / 2
        near = 1.5 * away**3 - 2.5 * away**2 + 1
        far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        weights = np.where(away <= 1, near, np.where(away <= 2, far, 0)) / 2
        return weights @ around

    expected = halved(halved(picture.astype(np.float64)).T).T
    np.testing.assert_allclose(half(torch.from_numpy(picture)[None])[0], expected, atol=1e-4)


@pytest.mark.parametrize("name", FEATURES)
def test_brisques_features_are_opencvs(name: str) -> None:
    features = brisque_features(levels_of(pictures()[name]))[0].numpy()
    shapes = [scale + place for scale in (0, 18) for place in (0, 2, 6, 10, 14)]
    expected = np.array(FEATURES[name])
    np.testing.assert_allclose(features[shapes], expected[shapes], atol=1.1e-3)  # one step of their grid
    np.testing.assert_allclose(
        np.delete(features, shapes), np.delete(expected, shapes), atol=1e-4 if name == "blocks" else 2e-5
    )


@pytest.mark.parametrize("name", SCORES)
def test_brisques_score_is_libsvms_cut_to_its_range(name: str, offline_weights: object) -> None:
    features = torch.tensor([FEATURES[name]], dtype=torch.float64)
    expected = min(max(SCORES[name], 0), 100)
    assert brisque_score(features, load_brisque(CPU)).item() == pytest.approx(expected, abs=1e-2)


def test_opposite_ends_of_the_ranges_become_minus_one_and_one() -> None:
    ends = torch.tensor([LOWEST, HIGHEST], dtype=torch.float64)
    read = brisque_score(ends, lambda scaled: 50 + scaled.mean(1))
    assert read.tolist() == pytest.approx([49, 51])


def test_a_regression_in_libsvms_format_predicts_what_scikit_learn_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.uniform(-1, 1, (40, 5)), 3) * (rng.random((40, 5)) > 0.3)
    known = SVR(gamma=0.4, C=3.0).fit(x, np.sin(3 * x.sum(1)))
    rows = [
        " ".join([repr(c), *(f"{i}:{v}" for i, v in enumerate(vector.tolist(), 1) if v)]) + " "
        for c, vector in zip(known.dual_coef_[0].tolist(), known.support_vectors_, strict=True)
    ]
    head = ["svm_type epsilon_svr", "kernel_type rbf", "gamma 0.4", "nr_class 2"]
    head += [f"total_sv {len(rows)}", f"rho {-float(known.intercept_[0])!r}", "probA 6.3", "SV"]
    file = tmp_path / "svm.txt"
    file.write_text("\n".join(head + rows) + "\n")
    asked = rng.uniform(-1, 1, (7, 5))
    read = SupportVectorRegression.load(file)(torch.from_numpy(asked))
    np.testing.assert_allclose(read, known.predict(asked), atol=1e-9)
    file.write_text("\n".join(head + rows[:-1]))
    with pytest.raises(ValueError, match=rf"\b{len(rows) - 1} support.* {len(rows)}\b"):
        SupportVectorRegression.load(file)
    file.write_text("\n".join(["svm_type c_svc", *head[1:], *rows]))
    with pytest.raises(ValueError, match="c_svc"):
        SupportVectorRegression.load(file)


@settings(max_examples=25)
@given(
    shape=st.floats(0.7, 5),
    left=st.floats(0.3, 3),
    right=st.floats(0.3, 3),
)
def test_a_fit_recovers_the_generalised_gaussian_it_is_given(shape: float, left: float, right: float) -> None:
    negative = round(400_000 * left / (left + right))  # so that the two halves meet at 0
    sample = np.abs(stats.gennorm.rvs(shape, size=400_000, random_state=0))
    sample[:negative] *= -left
    sample[negative:] *= right
    fit = fit_aggd(moments(torch.from_numpy(sample).float()[None]))
    assert fit.shape.item() == pytest.approx(shape, rel=0.05)
    assert [scale.item() for scale in fit.scales] == pytest.approx([left, right], rel=0.08)
    assert fit.mean.item() == pytest.approx(sample.mean(), abs=0.05 * max(left, right))


def test_moments_count_and_add() -> None:
    x = torch.tensor([[[-2.0, 0.0, 1.0], [3.0, -1.0, 0.0]]])
    assert moments(x).tolist() == [[6, 2, 2, 1, -3, 15, 5]]
    fit = fit_aggd(moments(x))
    assert (fit.left.item(), fit.right.item()) == pytest.approx((2.5**0.5, 5**0.5))


@pytest.mark.parametrize("border", ["zeros", "wrap"])
def test_neighbours_are_left_above_and_diagonal(border: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 3, 11, 7, generator=torch.Generator().manual_seed(0))
    expected = [moments(x)]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = x.roll(shift, (-2, -1))
        if border == "zeros":
            other[..., : shift[0], :] = 0
            other[..., slice(0, 1) if shift[1] > 0 else slice(-1, None)] *= shift[1] == 0
        expected.append(moments(x * other))
    for pixels in (1, 100, 2**16):  # the bands in which it is added up
        monkeypatch.setattr(natural_scene, "BAND", pixels)
        torch.testing.assert_close(
            neighbour_moments(x, border), torch.stack(expected, -2), rtol=1e-6, atol=1e-5
        )


@pytest.mark.parametrize("measure", [brisque_features, niqe_features])
def test_a_batch_reads_as_each_picture_alone_in_any_bands(
    measure: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = torch.cat([levels_of(pictures()[name]) for name in ("sharp", "noisy")])[:, :200, :300]
    alone = torch.cat([measure(one) for one in batch.split(1)])
    torch.testing.assert_close(measure(batch), alone, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(natural_scene, "BAND", 300 * 16)
    torch.testing.assert_close(measure(batch), alone, rtol=1e-12, atol=1e-12)


def test_flat_patches_have_a_shape_and_nothing_else() -> None:
    features = niqe_features(levels_of(pictures()["half black"]))[0]
    assert features.isfinite().all(1).tolist() == [True] * 10 + [False] * 10
    shapes = [size + place for size in (0, 18) for place in (0, 2, 6, 10, 14)]
    defined = features[15:].isfinite()  # the last row of patches is flat to its border
    assert [place for place in range(36) if defined[:, place].all()] == shapes
    assert not np.delete(defined.numpy(), shapes, 1).any()
    assert brisque_features(torch.full((2, 64, 64), 90.0)).isnan().all()


def test_grey_is_opencvs_in_8_bits() -> None:
    frame = torch.from_numpy(astronaut()).movedim(-1, 0)[None] / 255
    apart = grey_levels(frame)[0].numpy() - cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)
    assert np.abs(apart).max() <= 1
    assert (apart == 0).mean() > 0.99


def damaged() -> dict[str, list[Image]]:
    """The astronaut, ever more damaged."""
    rng, picture = np.random.default_rng(1), astronaut()
    white = rng.normal(size=picture.shape)
    encoded = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, q])[1] for q in (50, 30, 15)]
    return {
        "blur": [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (1, 1.7, 2.8))],
        "noise": [picture, *((picture + s * white).clip(0, 255).astype(np.uint8) for s in (12, 25, 40))],
        "jpeg": [picture, *(cv2.imdecode(code, cv2.IMREAD_COLOR) for code in encoded)],
    }


@pytest.mark.parametrize("kind", [NiqeClarity, BrisqueClarity])
@pytest.mark.parametrize("damage", ["blur", "noise", "jpeg"])
def test_damage_makes_it_worse(kind: type[Estimator], damage: str, offline_weights: object) -> None:
    estimator = kind()
    frames = torch.from_numpy(np.stack(damaged()[damage])).movedim(-1, 1) / 255
    estimator.update(frames)
    series = estimator.compute()
    assert (np.diff(series.values) > 0).all()
    assert series.values[-1] > series.values[0] + 1.5
    assert not kind.higher_is_better
    chunked = kind()
    for frame in frames:
        chunked.update(frame[None])
    assert chunked.compute().values.tolist() == series.values.tolist()


@pytest.mark.parametrize(
    ("kind", "size", "needed"),
    [
        (NiqeClarity, (193, 640), "194x194"),
        (NiqeClarity, (640, 193), "194x194"),
        (BrisqueClarity, (15, 40), "16x16"),
    ],
)
def test_frames_that_are_too_small_cannot_be_measured(
    kind: type[Estimator], size: tuple[int, int], needed: str, offline_weights: object
) -> None:
    with pytest.raises(Unmeasurable, match=rf"{needed}.*got {size[0]}x{size[1]}"):
        kind().update(torch.rand(1, 3, *size))


def test_niqe_needs_two_patches(offline_weights: object) -> None:
    grey = torch.rand(2, 100, 192, generator=torch.Generator().manual_seed(0)) * 255
    assert niqe(grey, load_niqe(CPU)).isfinite().all()
    assert niqe(grey[..., :191], load_niqe(CPU)).isnan().all()


@pytest.mark.parametrize("kind", [NiqeClarity, BrisqueClarity])
def test_black_frames_are_undefined_and_say_why(kind: type[Estimator], offline_weights: object) -> None:
    estimator = kind()
    estimator.update(torch.zeros(2, 3, 194, 194))
    series = estimator.compute()
    assert np.isnan(series.score)
    assert series.reason == estimator.undefined()
    estimator.update(torch.from_numpy(astronaut()[:194, :194]).movedim(-1, 0)[None] / 255)
    assert np.isfinite(estimator.compute().score)
