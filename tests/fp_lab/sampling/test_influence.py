"""Influence of levels: closed forms on a random model."""

from collections.abc import Sequence

import pytest
import torch

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.model import FramePackModel
from fp_lab.recipe import parse
from fp_lab.sampling.influence import LevelInfluence, level_influence

CAPTIONS = ["a red ball", "a blue square", ""]


def found(name: str, model: FramePackModel | None = None, perturbed: float = 0.0) -> Sequence[LevelInfluence]:
    recipe = parse(name)
    model = model or random_model(name)
    latents = torch.randn(3, 4, 12, 8, 8, generator=torch.Generator().manual_seed(1))
    other = latents + perturbed * torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(0)
    return level_influence(model, recipe, latents, CAPTIONS, other, generator=generator)


def random_model(name: str) -> FramePackModel:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=2, head_width=16))
    torch.nn.init.normal_(backbone.final.weight)  # it is zero at first, so that nothing has an influence
    kernels = tuple(dict.fromkeys(level.kernel for level in parse(name).levels))
    model = FramePackModel(backbone, kernels, "clean")
    model.packer.initialise_from(backbone.embed)
    return model


def test_a_single_level_has_all_of_the_influence() -> None:
    (level,) = found("td_f2k1_g3")
    assert level.ratios.tolist() == pytest.approx([1, 1, 1])
    assert level.frames == 2


def test_what_is_not_perturbed_has_no_noise_and_more_perturbation_has_more() -> None:
    for level in found("td_f2k2f1k1_g3"):
        assert level.noise.tolist() == [0, 0, 0]
    little, much = (found("td_f2k2f1k1_g3", perturbed=size) for size in (0.01, 0.1))
    for less, more in zip(little, much, strict=True):
        assert bool((less.noise > 0).all())
        # a small perturbation moves the prediction in proportion, its square by the square
        assert (more.noise / less.noise).tolist() == pytest.approx([100] * 3, rel=0.2)
        assert bool((more.noise < more.ratios).all())


def test_a_level_whose_projection_is_deaf_has_no_influence() -> None:
    name = "td_f2k2f1k1_g3"
    model = random_model(name)
    torch.nn.init.zeros_(model.packer.projections.get_parameter("2x4x4.weight"))
    coarse, fine = found(name, model)
    assert (coarse.kernel.t, fine.kernel.t) == (2, 1)
    assert coarse.ratios.tolist() == [0, 0, 0]
    assert fine.ratios.tolist() == pytest.approx([1, 1, 1])


def test_both_sides_and_tails_are_levels_too() -> None:
    assert len(found("f1k1_x_g3_f1k1f2k2_td")) == 3
    tail = found("ta_f1k1_g3")
    assert [level.tail for level in tail] == [None, "ta"]


@pytest.mark.parametrize("name", ["g3"])
def test_without_a_history_there_is_nothing_to_compare(name: str) -> None:
    with pytest.raises(ValueError, match="order 'none'"):
        found(name, random_model("td_f1k1_g3"))
