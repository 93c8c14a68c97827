from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fp_lab.backbones import TinyDiT, TinyDiTConfig
from fp_lab.model import FramePackModel
from fp_lab.orders import plan
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import BASE, parse
from fp_lab.rollout import SamplingConfig, guide, rollout
from fp_lab.solvers import SolverConfig

FRAMES = 20
SAMPLING = SamplingConfig(SolverConfig("euler", 3))
VANILLA, INVERTED = "td_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_td"


def model_for(name: str) -> FramePackModel:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=1, head_width=16))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    return FramePackModel(backbone, kernels_of(parse(name)) or [BASE], "clean").eval()


def run(
    model: FramePackModel,
    name: str,
    first: Tensor,
    seeds: Sequence[int] = (1, 2),
    sampling: SamplingConfig = SAMPLING,
    history: Tensor | None = None,
) -> tuple[Tensor, list[tuple[int, ...]]]:
    video = torch.zeros(len(first), 4, FRAMES, 4, 4)
    order = []
    for done in rollout(
        model,
        parse(name),
        first,
        frames=FRAMES,
        captions=["red"] * len(first),
        seeds=seeds,
        sampling=sampling,
        history=history,
    ):
        video[:, :, list(done.section.targets)] = done.latents
        order.append(done.section.targets)
    return video, order


@pytest.mark.parametrize("name", [VANILLA, INVERTED, "td_f4k2f1k1_g4_x_f1k1", "g4"])
def test_sections_come_in_the_order_of_the_plan_and_cover_the_video(name: str) -> None:
    video, order = run(model_for(name), name, torch.randn(2, 4, 1, 4, 4))
    assert order == [section.targets for section in plan(parse(name), FRAMES)]
    assert (video[:, :, 1:].abs().sum((1, 3, 4)) > 0).all()


class Copying(FramePackModel):
    """Predicts that a section looks like the latents stored in `truth` at its times."""

    truth: Tensor

    def forward(self, noisy: Tensor, times: Tensor, sigmas: Tensor, text: object, context: object) -> Tensor:
        return self.truth[:, :, times[0]]


def test_a_model_that_knows_the_truth_reproduces_it() -> None:
    model = Copying(model_for(VANILLA).backbone, [BASE], "clean")
    model.truth = torch.randn(2, 4, FRAMES, 4, 4)
    model.pack = lambda context: None  # type: ignore[method-assign]
    video, _ = run(model, VANILLA, model.truth[:, :, :1])
    torch.testing.assert_close(video[:, :, 1:], model.truth[:, :, 1:], atol=1e-5, rtol=1e-5)


def test_a_video_depends_on_its_seed_and_not_on_its_batch() -> None:
    model, first = model_for(VANILLA), torch.randn(2, 4, 1, 4, 4)
    together, _ = run(model, VANILLA, first)
    alone, _ = run(model, VANILLA, first[1:], seeds=[2])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)
    other, _ = run(model, VANILLA, first, seeds=[1, 3])
    assert not torch.allclose(together[1], other[1], atol=1e-2)


@pytest.mark.parametrize("name", [VANILLA, INVERTED])
def test_true_history_is_what_the_context_is_made_of(name: str) -> None:
    model, truth = model_for(name), torch.randn(2, 4, FRAMES, 4, 4)
    own, order = run(model, name, truth[:, :, :1])
    forced, _ = run(model, name, truth[:, :, :1], history=truth)
    first, second = list(order[0]), list(order[1])
    torch.testing.assert_close(own[:, :, first], forced[:, :, first])
    assert not torch.allclose(own[:, :, second], forced[:, :, second], atol=1e-3)


@pytest.mark.parametrize("name", [VANILLA, INVERTED, "td_f4k2f1k1_g4_x_f1k1"])
def test_own_history_is_what_the_model_has_made(name: str) -> None:
    model, first = model_for(name), torch.randn(2, 4, 1, 4, 4)
    own, _ = run(model, name, first)
    made = torch.cat((first, own[:, :, 1:]), 2)
    fed_back, _ = run(model, name, first, history=made)
    torch.testing.assert_close(fed_back, own)


def test_the_context_is_packed_once_per_section() -> None:
    model, calls = model_for(VANILLA), []
    pack = model.pack
    model.pack = lambda context: (calls.append(1), pack(context))[1]  # type: ignore[method-assign, func-returns-value]
    _, order = run(model, VANILLA, torch.randn(2, 4, 1, 4, 4))
    assert len(calls) == len(order)


def test_guidance_goes_beyond_the_prompted_velocity() -> None:
    prompted, unprompted = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    assert guide(prompted, unprompted, 1.0).tolist() == prompted.tolist()
    assert guide(prompted, unprompted, 2.0).tolist() == [[2.0, 5.0]]
    rescaled = guide(prompted, unprompted, 2.0, rescale=1.0)
    assert rescaled.std().item() == pytest.approx(prompted.std().item(), rel=1e-5)


def test_guidance_changes_the_video() -> None:
    model, first = model_for(VANILLA), torch.randn(2, 4, 1, 4, 4)
    plain, _ = run(model, VANILLA, first)
    guided, _ = run(model, VANILLA, first, sampling=replace(SAMPLING, guidance=4.0))
    assert (plain - guided).abs().max() > 1e-3


def test_inputs_that_do_not_fit_are_refused() -> None:
    model, first = model_for(VANILLA), torch.randn(2, 4, 1, 4, 4)
    with pytest.raises(ValueError, match="2 first frames, 2 captions and 1 seeds"):
        run(model, VANILLA, first, seeds=[1])
    with pytest.raises(ValueError, match="3 frames, expected 20"):
        run(model, VANILLA, first, history=torch.zeros(2, 4, 3, 4, 4))
