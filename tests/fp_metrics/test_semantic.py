"""Classifier, sentence encoder and ConSE against published code's figures and arithmetic by hand."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from fp_metrics import About
from fp_metrics.families.offline.identity import FeatureToFirst
from fp_metrics.families.offline.semantic import ConseProxy, ImageFeatures, class_vectors
from fp_metrics.functional.conse import conse
from fp_metrics.networks import efficientnet_lite, minilm
from fp_metrics.weights_catalogue import ARTIFACTS

pytestmark = pytest.mark.usefixtures("offline_weights")


def picture(name: str) -> Tensor:
    return torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1).float() / 255


def most_likely(frame: Tensor, count: int) -> list[str]:
    probabilities = efficientnet_lite.see(efficientnet_lite.prepare(frame[None])).probabilities[0]
    return [efficientnet_lite.class_names()[index] for index in probabilities.topk(count).indices.tolist()]


@pytest.mark.parametrize(
    ("name", "classes", "probabilities", "feature", "length"),
    [
        (
            "chelsea",
            ["Egyptian cat", "tiger cat", "tabby"],
            [0.484578, 0.333495, 0.124315],
            [0.0, 0.0470429, 0.0, 0.5133194],
            15.811514,
        ),
        (
            "coffee",
            ["espresso", "coffee mug", "cup"],
            [0.929498, 0.024890, 0.012273],
            [0.0, 0.0664014, 1.2373679, 0.0],
            13.534273,
        ),
    ],
)
def test_the_classifier_equals_the_published_code(
    name: str, classes: list[str], probabilities: list[float], feature: list[float], length: float
) -> None:
    """Figures of efficientnet_lite_pytorch 0.1.0, run apart on the same 224x224 cut-outs."""
    cut = picture(name)[None, :, 40:264, 100:324]
    seen = efficientnet_lite.see((cut * 255 - 127) / 128)
    likely = seen.probabilities[0].topk(3)
    assert [efficientnet_lite.class_names()[index] for index in likely.indices.tolist()] == classes
    torch.testing.assert_close(likely.values, torch.tensor(probabilities), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.features[0, :4], torch.tensor(feature), rtol=0, atol=1e-4)
    assert float(seen.features.norm()) == pytest.approx(length, abs=1e-3)
    assert float(seen.probabilities.sum()) == pytest.approx(1, abs=1e-5)


def test_known_pictures_are_what_they_are() -> None:
    assert set(most_likely(picture("chelsea"), 3)) == {"tabby", "tiger cat", "Egyptian cat"}
    assert most_likely(picture("coffee"), 1) == ["espresso"]
    assert "missile" in most_likely(picture("rocket"), 2)


def test_pictures_are_prepared_as_pillow_would() -> None:
    """300x451: the centre 262x262, bicubic to 224; Pillow rounds to whole grey values, twice."""
    pixels = skimage.data.chelsea()
    crop = Image.fromarray(pixels[19:281, 94:356]).resize((224, 224), Image.Resampling.BICUBIC)
    expected = (torch.from_numpy(np.array(crop)).permute(2, 0, 1).float() - 127) / 128
    ours = efficientnet_lite.prepare(picture("chelsea")[None])[0]
    difference = 128 * (ours - expected).abs()
    assert float(difference.max()) < 2
    assert float(difference.mean()) < 0.4
    assert efficientnet_lite.prepare(torch.ones(2, 3, 40, 20)).shape == (2, 3, 224, 224)  # small ones grow
    torch.testing.assert_close(efficientnet_lite.prepare(torch.ones(1, 3, 30, 30)).mean(), torch.tensor(1.0))


def test_sentences_equal_those_of_sentence_transformers() -> None:
    """Figures of sentence-transformers 6.0 with the same weights, run apart."""
    eats, bread, girl = minilm.embed(
        ["A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."]
    )
    expected = torch.tensor([0.033242, 0.004406, -0.006277, 0.048379, -0.138702, -0.033617])
    torch.testing.assert_close(eats[:6], expected, rtol=0, atol=2e-6)
    assert float(eats @ bread) == pytest.approx(0.755337, abs=1e-5)
    assert float(eats @ girl) == pytest.approx(-0.104958, abs=1e-5)


def test_a_sentence_does_not_depend_on_its_company() -> None:
    cat, long, empty = minilm.embed(["cat", "a " * 400, ""])
    torch.testing.assert_close(cat, minilm.embed(["cat"])[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(long, minilm.embed(["a " * 254])[0], rtol=0, atol=1e-5)  # cut
    assert float(empty.norm()) == pytest.approx(1, abs=1e-5)
    many = minilm.embed(["dog"] * minilm.BATCH + ["cat"])  # the last one in another batch
    torch.testing.assert_close(many[-1], cat, rtol=0, atol=1e-5)
    torch.testing.assert_close(many[0], many[minilm.BATCH - 1], rtol=0, atol=1e-5)
    assert minilm.embed([]).shape == (0, 384)


def test_conse_by_hand() -> None:
    names = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.6, 0.8, 0.0]])
    probabilities = torch.tensor([[0.3, 0.4, 0.1, 0.2], [0.0, 0.05, 0.9, 0.05]])
    two = conse(probabilities, names, top=2)
    torch.testing.assert_close(two[0], torch.tensor([0.6, 0.8, 0.0]))  # 3/7 and 4/7, then length 1
    torch.testing.assert_close(conse(probabilities, names, top=1), names[[1, 2]])
    every = torch.nn.functional.normalize(probabilities @ names, dim=1)
    torch.testing.assert_close(conse(probabilities, names, top=10), every)  # more than there are
    torch.testing.assert_close(conse(probabilities / 7, names, top=2), two)


def agreement(frame: Tensor, prompt: str) -> float:
    estimator = ConseProxy(About(prompt=prompt))
    estimator.update(frame[None])
    return estimator.compute().score


def test_a_cat_is_a_cat() -> None:
    assert agreement(picture("chelsea"), "cat") == pytest.approx(0.836, abs=0.005)
    prompts = {"chelsea": "a cat looks at you", "coffee": "a cup of coffee", "rocket": "a rocket starts"}
    table = np.array([[agreement(picture(name), prompt) for prompt in prompts.values()] for name in prompts])
    assert (table.argmax(0) == np.arange(3)).all()
    assert (table.argmax(1) == np.arange(3)).all()


def test_every_fourth_frame_is_looked_at_and_the_change_is_seen() -> None:
    cat, coffee = (picture(name)[:, :300, :400] for name in ("chelsea", "coffee"))
    video = torch.stack([cat] * 8 + [coffee] * 5)
    whole = ConseProxy(About(prompt="a cat"))
    whole.update(video)
    series = whole.compute()
    assert series.positions.tolist() == [0, 4, 8, 12]
    assert series.values[1] > series.values[2] + 0.3
    assert series.score == pytest.approx(series.values.mean())
    streamed = ConseProxy(About(prompt="a cat"))
    for frame in video:
        streamed.update(frame[None])
    np.testing.assert_allclose(streamed.compute().values, series.values, rtol=0, atol=1e-5)


def test_without_a_prompt_it_is_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "embed", lambda texts: pytest.fail("no text, nothing to embed"))
    for prompt in ("", "  "):
        estimator = ConseProxy(About(prompt=prompt))
        estimator.update(torch.zeros(5, 3, 32, 32))
        series = estimator.compute()
        assert np.isnan(series.score)
        assert series.reason == "needs the prompt of the video"
        assert series.coverage == 0


def test_two_scores_share_one_look_and_nothing_is_loaded_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "see", lambda frames: pytest.fail("looked"))
    assert ConseProxy.observer is FeatureToFirst.observer is ImageFeatures
    ConseProxy(About(prompt="a cat"))
    FeatureToFirst()
    named = (*ImageFeatures.weights, *ConseProxy.weights)
    assert named == ("efficientnet-lite0", "minilm-l6", "minilm-l6-tokenizer")
    assert set(named) <= set(ARTIFACTS)


def test_the_class_names_are_embedded_in_their_order() -> None:
    vectors = class_vectors()
    assert vectors.shape == (1000, 384)
    torch.testing.assert_close(vectors[285], minilm.embed(["Egyptian cat"])[0], rtol=0, atol=1e-5)
