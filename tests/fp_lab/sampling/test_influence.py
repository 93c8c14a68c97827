"""Influence of levels and errors of single steps: closed forms on random and on hand-made models."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.backbones.wan.model import Wan
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling.influence import LevelInfluence, level_influence, level_names
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.sampling.step_errors import velocity_errors
from fp_lab.shapes import Caption, ContextMemory, PackedContext, TextCondition
from tiny_conditions import told

CAPTIONS = ["a red ball", "a blue square", ""]
SEEDS = (5, 6, 7)
LEVELS = "td_f2k2f1k1_g3"
LATENTS = torch.randn(3, 4, 13, 8, 8, generator=torch.Generator().manual_seed(1))
TINY = TinyDiTConfig(channels=4, width=32, depth=2, head_width=16)


def found(
    name: str, model: FramePackModel | None = None, perturbed: float = 0.0, latents: Tensor = LATENTS
) -> Sequence[LevelInfluence]:
    other = latents + perturbed * torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    model = model or random_model(name)
    shown = None if isinstance(model.backbone, TinyDiT | Wan) else torch.ones(3, 2, 16)
    return level_influence(model, parse(name), latents, CAPTIONS, other, seeds=SEEDS, images=shown)


def random_model(name: str, **context: Any) -> FramePackModel:
    torch.manual_seed(0)
    backbone = TinyDiT(TINY)
    torch.nn.init.normal_(backbone.final.weight)  # it is zero at first, so that nothing has an influence
    model = FramePackModel(backbone, kernels_of(parse(name)), "clean", ContextConfig(**context))
    model.packer.initialise_from(backbone.embed)
    return model.eval()


def over_diffusers(family: str) -> FramePackModel:
    import tiny_hunyuan
    import tiny_wan

    backbone: Any = copy.deepcopy(tiny_wan.adapter() if family == "wan" else tiny_hunyuan.adapter())
    backbone.texts = partial(told, family=family)
    model = FramePackModel(backbone, kernels_of(parse(LEVELS)), "velocity")
    model.packer.initialise_from(backbone.patch)
    return model.eval()


class Made(TinyDiT):
    """Gives the mean of some of the context's tokens, and the true velocity with an offset.

    Attributes:
        reads: which tokens it reads; None: none.
        offsets: added to the true velocity of `LATENTS`, by the section's first frame; None: no velocity.
    """

    def __init__(self, reads: slice | None = None, offsets: Sequence[float] | None = None) -> None:
        super().__init__(TINY)
        self.reads, self.offsets = reads, offsets

    def encode_text(
        self, captions: Sequence[Caption], images: Tensor | None = None, guidance: float | None = None
    ) -> TextCondition:
        """Number of the video, which its caption tells."""
        return TextCondition(torch.tensor([[[CAPTIONS.index(str(caption))]] for caption in captions]))

    def prepare(
        self,
        times: Tensor,
        size: tuple[int, int],
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        moments: Tensor | None = None,
    ) -> Any:
        """Frames, video and context."""
        return times, text.tokens.flatten(), context

    def denoise(
        self, noisy: Tensor, timesteps: Tensor, section: Any, attention_mask: Tensor | None = None
    ) -> Tensor:
        """What the class says, as velocity ``b c t h w``."""
        times, videos, context = section
        velocity = torch.zeros_like(noisy)
        if self.reads is not None:
            velocity += context.tokens[:, self.reads].mean((1, 2))[:, None, None, None, None]
        if self.offsets is not None:
            clean = LATENTS[videos][:, :, times[0]]
            velocity += (noisy - clean) / (timesteps / 1000)[:, None, None, None, None]
            velocity += self.offsets[int(times[0, 0])]
        return velocity


def made(name: str, *args: Any, codebook: Codebook | None = None) -> FramePackModel:
    torch.manual_seed(0)
    return FramePackModel(Made(*args), kernels_of(parse(name)), "velocity", codebook=codebook).eval()


def test_a_level_that_a_model_ignores_has_no_influence_and_the_only_one_that_it_reads_has_all() -> None:
    coarse, fine = slice(0, 4), slice(4, 20)  # tokens of 2x4x4 and 1x2x2 latents in frames of 8x8
    for reads, ratios in ((coarse, (1.0, 0.0)), (fine, (0.0, 1.0)), (None, (0.0, 0.0))):
        levels = found(LEVELS, made(LEVELS, reads), perturbed=0.1)
        assert [level.name for level in levels] == ["f2k2", "f1k1"]
        assert [level.ratios.tolist() for level in levels] == [[ratio] * 3 for ratio in ratios]
        for level, ratio in zip(levels, ratios, strict=True):
            assert bool(((level.noise > 0) == bool(ratio)).all())


def test_a_single_level_has_all_of_the_influence() -> None:
    (level,) = found("td_f2k1_g3")
    assert level.ratios.tolist() == pytest.approx([1, 1, 1])
    assert level.frames == 2


def test_what_is_not_perturbed_has_no_noise_and_more_perturbation_has_more() -> None:
    for level in found(LEVELS):
        assert level.noise.tolist() == [0, 0, 0]
    little, much = (found(LEVELS, perturbed=size) for size in (0.01, 0.1))
    for less, more in zip(little, much, strict=True):
        assert bool((less.noise > 0).all())
        # a small perturbation moves the prediction in proportion, its square by the square
        assert (more.noise / less.noise).tolist() == pytest.approx([100] * 3, rel=0.2)
        assert bool((more.noise < more.ratios).all())


@pytest.mark.parametrize("kind", ["tiny", "hunyuan", "wan"])
def test_a_level_whose_projection_is_deaf_has_no_influence(kind: str) -> None:
    model = random_model(LEVELS) if kind == "tiny" else over_diffusers(kind)
    torch.nn.init.zeros_(model.packer.projections.get_parameter("2x4x4.weight"))
    coarse, fine = found(LEVELS, model)
    assert (coarse.kernel.t, fine.kernel.t) == (2, 1)
    assert coarse.ratios.tolist() == [0, 0, 0]
    assert fine.ratios.tolist() == pytest.approx([1, 1, 1])


def test_a_discrete_history_is_discretised_before_a_tail_averages_it_as_in_sampling() -> None:
    """Of nine frames three are -3 and six 0.2: their mean is below 0, that of their centroids above."""
    name = "tc_f1k1_g3+D2"
    codebook = Codebook(2, 4)
    codebook.centroids = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    latents = torch.full((3, 4, 13, 8, 8), 0.2)
    latents[0, :, :3], latents[0, :, 9] = -3.0, -0.2
    fine, tail = found(name, made(name, slice(None), codebook=codebook), latents=latents)
    assert (tail.name, tail.tail, tail.frames) == ("tail tc", "tc", 9)
    assert (fine.ratios[0].item(), tail.ratios[0].item()) == (1, 0)


def test_both_sides_and_tails_are_levels_with_names_of_their_own() -> None:
    both = found("f1k1_x_g3_f1k1f2k2_td")
    assert [level.name for level in both] == ["f1k1 before", "f1k1 after", "f2k2"]
    tail = found("ta_f1k1_g3")
    assert [(level.name, level.tail) for level in tail] == [("f1k1", None), ("tail ta", "ta")]
    assert tail[1].frames == 9
    assert level_names(parse("f1k1_x_f1k1_x_f2k2_g3")) == ("f1k1 1", "f1k1 2", "f2k2")
    assert level_names(parse("f2k2_x_g3_f1k1_x_f1k1")) == ("f2k2", "f1k1 1", "f1k1 2")


def test_influence_is_of_the_noisy_history_that_a_model_is_told_of() -> None:
    model, sampling = random_model(LEVELS, timestep="level"), SamplingConfig(history_level=1.0)
    args = (model, parse(LEVELS), LATENTS, CAPTIONS, LATENTS)
    clean = level_influence(*args, seeds=SEEDS)
    noisy = level_influence(*args, seeds=SEEDS, sampling=sampling)
    assert [level.noise.tolist() for level in noisy] == [[0, 0, 0]] * 2, "the noise is the same for both"
    assert any(not one.ratios.equal(other.ratios) for one, other in zip(clean, noisy, strict=True))


def test_without_a_history_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="order 'none'"):
        found("g3", random_model("td_f1k1_g3"))


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        (LEVELS, (1, 4, 7, 10)),
        ("f1k1_x_g3_f1k1f2k2_td", (10, 7, 4, 1)),
        ("f1k1_x_g3_x_f1k1f2k2", (1, 4, 7)),
        ("g3", (1, 4, 7, 10)),
    ],
)
def test_the_error_of_a_step_is_that_of_its_velocity_section_by_section(
    name: str, starts: Sequence[int]
) -> None:
    """A model of the true velocity has none; one that is off by a constant has its square."""

    def errors(*offsets: float) -> Tensor:
        model = made(name if name != "g3" else LEVELS, None, offsets)
        return velocity_errors(model, parse(name), LATENTS, CAPTIONS, seeds=SEEDS, batch=2)

    assert errors(*[0.0] * 13).numpy() == pytest.approx(0, abs=1e-9)
    for row in errors(*(0.1 * frame for frame in range(13))).tolist():
        assert row == pytest.approx([(0.1 * start) ** 2 for start in starts], abs=1e-5)


def test_a_window_of_blocks_has_errors_of_steps_too() -> None:
    name = "td_f6k1_g3"
    model = random_model(name, attention="block_causal")
    errors = velocity_errors(model, parse(name), LATENTS, CAPTIONS, seeds=SEEDS)
    assert errors.shape == (3, 4)
    assert bool((errors > 0).all())
