from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, TinySection, WordsConfig
from fp_lab.flow.matching import schedule, shift_of_tokens
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import BASE, parse
from fp_lab.recipe.orders import plan
from fp_lab.sampling.guidance import guide
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.shapes import ContextLevel, PackedContext, TextCondition
from tiny_rollout import FRAMES, INVERTED, SAMPLING, VANILLA, model_for


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

    def prepare(self, times: Tensor, *further: object, **named: object) -> Tensor:
        return times

    def denoise(self, noisy: Tensor, sigmas: Tensor, section: Tensor) -> Tensor:
        return self.truth[:, :, section[0]]


def test_a_model_that_knows_the_truth_reproduces_it() -> None:
    model = Copying(model_for(VANILLA).backbone, [BASE], "clean")
    model.truth = torch.randn(2, 4, FRAMES, 4, 4)
    model.pack = lambda context, levels=None: None  # type: ignore[method-assign]
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
    model.pack = lambda context, levels=None: (calls.append(1), pack(context))[1]  # type: ignore[method-assign, func-returns-value]
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


def told_model() -> FramePackModel:
    backbone = model_for(VANILLA).backbone
    torch.manual_seed(1)
    kernels = kernels_of(parse(VANILLA))
    return FramePackModel(backbone, kernels, "clean", ContextConfig(timestep="level")).eval()


def test_noise_on_the_history_follows_the_time_of_the_section() -> None:
    model, first, levels = told_model(), torch.randn(2, 4, 1, 4, 4), []
    pack = model.pack

    def watched(context: tuple[ContextLevel, ...], at: Tensor | None = None) -> PackedContext | None:
        levels.append(0.0 if at is None else at[0].item())
        return pack(context, at)

    model.pack = watched  # type: ignore[method-assign]
    clean, order = run(model, VANILLA, first)
    assert set(levels) == {0.0}
    levels.clear()
    noisy, _ = run(model, VANILLA, first, sampling=replace(SAMPLING, history_level=0.5))
    sigmas = schedule(3, shift_of_tokens(4 * 4))[:3]
    assert levels[:3] == pytest.approx((0.5 * sigmas).tolist(), abs=1e-6)
    assert len(levels) == 3 * len(order)
    levels.clear()
    run(model, VANILLA, first, sampling=replace(SAMPLING, history_guidance=2.0))
    assert levels == [0.0, 1.0] * len(order), "clean, and pure noise for guidance, each packed once"
    assert (clean - noisy).abs().max() > 1e-3
    again, _ = run(model, VANILLA, first[1:], seeds=[2], sampling=replace(SAMPLING, history_level=0.5))
    torch.testing.assert_close(noisy[1:], again, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"history_level: got 0\.5 .*context\.timestep 'same'"):
        run(model_for(VANILLA), VANILLA, first, sampling=replace(SAMPLING, history_level=0.5))


@pytest.mark.parametrize("told", [True, False])
def test_history_guidance_goes_beyond_what_the_history_says(told: bool) -> None:
    model = told_model() if told else model_for(VANILLA)
    first = torch.randn(2, 4, 1, 4, 4)
    plain, _ = run(model, VANILLA, first)
    guided, _ = run(model, VANILLA, first, sampling=replace(SAMPLING, history_guidance=2.0))
    one, _ = run(model, VANILLA, first, sampling=replace(SAMPLING, history_guidance=1.0))
    assert torch.equal(one, plain)
    assert (plain - guided).abs().max() > 1e-3
    if not told:  # w = 0 is no history at all
        none, _ = run(model, "g4", first)
        zero, _ = run(model, VANILLA, first, sampling=replace(SAMPLING, history_guidance=0.0))
        torch.testing.assert_close(zero, none, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [VANILLA, INVERTED])
def test_an_isolated_context_is_remembered_once_per_section_and_changes_nothing(name: str) -> None:
    backbone = model_for(name).backbone
    torch.manual_seed(1)
    config = ContextConfig(timestep="zero", attention="isolated")
    model = FramePackModel(backbone, kernels_of(parse(name)), "clean", config).eval()
    first, calls = torch.randn(2, 4, 1, 4, 4), []
    remember = backbone.remember
    backbone.remember = lambda *args: (calls.append(1), remember(*args))[1]  # type: ignore[method-assign, func-returns-value]
    cached, order = run(model, name, first)
    assert len(calls) == len(order)

    class Masked(FramePackModel):
        """Recomputes the context at every step, kept from seeing the section by a mask."""

        def memory_of(self, packed: PackedContext | None, text: TextCondition) -> PackedContext | None:
            return packed

        def denoise(self, noisy: Tensor, sigmas: Tensor, section: TinySection) -> Tensor:
            assert section.context is not None
            before, own = section.context.shape[1], noisy.shape[2] * 4
            mask = torch.ones(len(noisy), before + own, before + own, dtype=torch.bool)
            mask[:, :before, before:] = False
            return self.backbone.denoise(noisy, 1000 * sigmas, section, mask)

    masked = Masked(backbone, kernels_of(parse(name)), "clean", config).eval()
    masked.load_state_dict(model.state_dict())
    recomputed, _ = run(masked, name, first)
    torch.testing.assert_close(cached, recomputed, atol=1e-5, rtol=1e-5)


def test_planned_endpoints_follow_their_own_prompts() -> None:
    name = "f4k2f1k1_g4_x_f1k1_x_f1k1"
    torch.manual_seed(0)
    words = WordsConfig(words=("red", "blue"))
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=1, head_width=16, words=words))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    model, first = (
        FramePackModel(backbone, kernels_of(parse(name)), "clean").eval(),
        torch.randn(1, 4, 1, 4, 4),
    )

    def video(captions: Sequence[str]) -> dict[tuple[int, ...], Tensor]:
        made = rollout(
            model, parse(name), first, frames=FRAMES, captions=[captions], seeds=[3], sampling=SAMPLING
        )
        return {section.section.targets: section.latents for section in made}

    one, other = video(["red", "red"]), video(["red", "blue"])
    endpoints = list(one)[:2]
    assert torch.equal(one[endpoints[0]], other[endpoints[0]]), "the first endpoint has the first prompt"
    assert not torch.allclose(one[endpoints[1]], other[endpoints[1]], atol=1e-4)
    with pytest.raises(ValueError, match=r"got \[3\] prompts .*expected 1 or 2"):
        video(["a", "b", "c"])


def test_a_discrete_history_is_what_the_context_is_made_of() -> None:
    model, first = model_for(VANILLA), torch.randn(2, 4, 1, 4, 4)
    continuous, _ = run(model, VANILLA, first)
    centroids = torch.randn(5, 4)
    codebook = Codebook(5, 4)
    codebook.centroids.copy_(centroids)
    model.codebook = codebook
    discrete, _ = run(model, VANILLA, first)
    assert not torch.allclose(continuous, discrete, atol=1e-3)
    assert not torch.allclose(discrete[:, :, 1:2], centroids[0].view(1, 4, 1, 1, 1)), (
        "what is shown is not discrete"
    )


@pytest.mark.parametrize("name", [VANILLA, INVERTED, "ta_f4k2f1k1_g4", "tc_f4k2f1k1_g4"])
@pytest.mark.parametrize("told", [False, True])
def test_all_pixels_of_a_discrete_context_are_centroids(name: str, told: bool) -> None:
    options = ContextConfig(missing="zero", timestep="level" if told else "same")
    model = FramePackModel(
        model_for(name).backbone, kernels_of(parse(name)), "clean", options, Codebook(5, 4)
    ).eval()
    assert model.codebook is not None
    model.codebook.centroids.copy_(torch.randn(5, 4))
    seen: list[ContextLevel] = []
    model.packer.register_forward_pre_hook(lambda module, args: seen.extend(args[0]))
    sampling = replace(SAMPLING, history_level=0.5, history_guidance=2.0) if told else SAMPLING
    run(model, name, torch.randn(2, 4, 1, 4, 4), sampling=sampling)
    pixels = torch.cat([level.latents.movedim(1, -1).flatten(0, -2) for level in seen])
    assert 1 < len(pixels.unique(dim=0)) <= 5


def test_one_centroid_is_no_memory() -> None:
    model = model_for(VANILLA)
    model.codebook = Codebook(1, 4)
    model.codebook.centroids.fill_(0.3)
    one, _ = run(model, VANILLA, torch.randn(2, 4, 1, 4, 4))
    two, _ = run(model, VANILLA, torch.randn(2, 4, 1, 4, 4))
    assert torch.equal(one[:, :, 1:], two[:, :, 1:]), "whatever the video began with"


def test_inputs_that_do_not_fit_are_refused() -> None:
    model, first = model_for(VANILLA), torch.randn(2, 4, 1, 4, 4)
    with pytest.raises(ValueError, match=r"\b2 videos, 2 captions .*\b1 seeds"):
        run(model, VANILLA, first, seeds=[1])
    with pytest.raises(ValueError, match="3 frames, expected 20"):
        run(model, VANILLA, first, history=torch.zeros(2, 4, 3, 4, 4))


def test_no_history_is_zero_latents_where_these_stand_for_what_is_missing() -> None:
    """As training drops a history: the same as to be forced on a history of zeros."""
    known = model_for(VANILLA)
    model = FramePackModel(known.backbone, known.kernels, "clean", ContextConfig(missing="zero")).eval()
    first = torch.randn(2, 4, 1, 4, 4)
    without, order = run(model, VANILLA, first, sampling=replace(SAMPLING, history_guidance=0.0))
    zeros, _ = run(model, VANILLA, first, history=torch.zeros_like(without))
    made = [frame for targets in order for frame in targets]
    torch.testing.assert_close(without[:, :, made], zeros[:, :, made], atol=1e-5, rtol=1e-4)
