"""The LAION predictor against open_clip's image encoder.

The reference figures are those of open_clip 3.3 with QuickGELU, filled with the weights of `seeded_weights`
under CLIP's published names, on frames that torchvision prepared as VBench does. In the network's real size
the two agreed to 1e-8 (not repeated here: 304 million weights).
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fp_metrics.families.paper import PAPER
from fp_metrics.networks import clip_aesthetic
from fp_metrics.networks.clip_aesthetic import VIT_L_14, ClipAesthetic, load_clip_aesthetic
from fp_metrics.weights import MissingWeights, weights_path
from seeded_weights import picture, seeded_state

SMALL: dict[str, Any] = VIT_L_14 | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "projection_dim": 48,
}
REFERENCE = (
    (224, 224, 0.01410040),
    (97, 211, 0.01447844),
    (300, 231, 0.01363135),
    (131, 523, 0.00988412),
)
EMBEDDED = (1.1038169860839844, 0.2320670336484909, -0.1596149206161499)
"""The first numbers of the first picture's embedding."""
TEXT_SIDE = {
    "text_model.embeddings.token_embedding.weight": torch.zeros(2, 2),
    "logit_scale": torch.zeros(()),
}


def image_side() -> dict[str, Tensor]:
    return seeded_state(ClipAesthetic(SMALL).clip.state_dict())


def head() -> dict[str, Tensor]:
    return seeded_state({"head.weight": torch.zeros(1, 48), "head.bias": torch.zeros(1)})


def written(folder: Path, clip: dict[str, Tensor], top: dict[str, Tensor] | None = None) -> tuple[Path, Path]:
    """The two files, as published."""
    save_file(clip, folder / "model.safetensors")
    torch.save({k.removeprefix("head."): v for k, v in (top or head()).items()}, folder / "linear.pth")
    return folder / "model.safetensors", folder / "linear.pth"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipAesthetic]:
    """A small predictor, from files of both sides, an old constant among them."""
    constant = {"vision_model.embeddings.position_ids": torch.arange(257)[None]}
    files = written(tmp_path_factory.mktemp("clip"), image_side() | constant | TEXT_SIDE)
    with pytest.MonkeyPatch.context() as patch:
        paths = dict(zip((clip_aesthetic.CLIP, clip_aesthetic.HEAD), files, strict=True))
        patch.setattr(clip_aesthetic, "weights_path", paths.__getitem__)
        patch.setattr(
            clip_aesthetic, "load_clip_aesthetic", functools.partial(load_clip_aesthetic, config=SMALL)
        )
        clip_aesthetic.laion_aesthetic.cache_clear()
        yield clip_aesthetic.laion_aesthetic(torch.device("cpu"))
        clip_aesthetic.laion_aesthetic.cache_clear()


@pytest.mark.parametrize(("height", "width", "expected"), REFERENCE)
def test_the_estimator_gives_the_reference_figures(
    network: ClipAesthetic, height: int, width: int, expected: float
) -> None:
    estimator = PAPER["paper/laion-aesthetic"]()
    estimator.update(picture(height, width, seed=height))
    assert estimator.compute().values.tolist() == pytest.approx([expected], abs=2e-7)


def test_the_embedding_is_the_reference_one(network: ClipAesthetic) -> None:
    observer = PAPER["paper/laion-aesthetic"]()._observer
    prepared = observer.keep(picture(224, 224, seed=224)[0], 0)
    assert network.clip(pixel_values=prepared[None]).image_embeds[0, :3].tolist() == pytest.approx(
        EMBEDDED, abs=1e-5
    )


def test_a_batch_is_rated_frame_by_frame(network: ClipAesthetic) -> None:
    batch, ones = PAPER["paper/laion-aesthetic"](), PAPER["paper/laion-aesthetic"]()
    frames = torch.cat([picture(60, 80, seed) for seed in range(3)])
    batch.update(frames)
    for frame in frames:
        ones.update(frame[None])
    assert batch.compute().values == pytest.approx(ones.compute().values, abs=1e-7)
    assert len(set(batch.compute().values.round(6))) == 3


def test_the_head_reads_the_direction_of_the_embedding_only(network: ClipAesthetic) -> None:
    state = network.state_dict()
    louder = ClipAesthetic(SMALL).eval()
    louder.load_state_dict(
        state | {"clip.visual_projection.weight": 7 * state["clip.visual_projection.weight"]}
    )
    pictures = picture(224, 224)
    with torch.no_grad():
        assert louder(pictures).item() == pytest.approx(network(pictures).item(), abs=1e-6)


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    files = written(tmp_path, {name: value.half() for name, value in image_side().items()})
    assert {value.dtype for value in load_clip_aesthetic(*files, SMALL).state_dict().values()} == {
        torch.float32
    }


def test_the_real_size_is_clip_vit_l_14() -> None:
    with torch.device("meta"):
        network = ClipAesthetic()
    shapes = {name: tuple(value.shape) for name, value in network.clip.state_dict().items()}
    assert sum(value.numel() for value in network.clip.parameters()) == 303_966_208  # open_clip's ViT-L-14
    assert len(shapes) == 8 + 16 * 24
    assert shapes["vision_model.embeddings.position_embedding.weight"] == (16 * 16 + 1, 1024)
    assert shapes["vision_model.pre_layrnorm.weight"] == (1024,)  # sic
    assert shapes["vision_model.encoder.layers.23.mlp.fc1.weight"] == (4096, 1024)
    assert shapes["visual_projection.weight"] == (768, 1024)
    assert network.clip.config.hidden_act == "quick_gelu"
    assert network.head.weight.shape == (1, 768)


@pytest.mark.parametrize(
    ("gone", "added", "message"),
    [
        ("visual_projection.weight", {}, "missing: visual_projection.weight"),
        ("", {"vision_model.more": torch.zeros(1)}, "unknown: vision_model.more"),
        (
            "",
            {"visual_projection.weight": torch.zeros(4, 64)},
            r"projection\.weight \(4, 64\) .*\(48, 64\)",
        ),
    ],
)
def test_another_image_side_is_refused(
    tmp_path: Path, gone: str, added: dict[str, Tensor], message: str
) -> None:
    state = image_side() | TEXT_SIDE | added
    state.pop(gone, None)
    with pytest.raises(ValueError, match=message):
        load_clip_aesthetic(*written(tmp_path, state), SMALL)


def test_another_head_is_refused(tmp_path: Path) -> None:
    wide = {"head.weight": torch.zeros(1, 512), "head.bias": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"linear\.pth .*Linear; .* \(1, 512\) .*\(1, 48\)"):
        load_clip_aesthetic(*written(tmp_path, image_side(), wide), SMALL)


def test_missing_weights_are_named_at_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(clip_aesthetic, "weights_path", weights_path)
    clip_aesthetic.laion_aesthetic.cache_clear()
    with pytest.raises(MissingWeights, match="clip-vit-l14"):
        PAPER["paper/laion-aesthetic"]().update(picture(32, 32))
