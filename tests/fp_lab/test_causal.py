"""Block-causal attention: who sees whom, cached keys and values, training windows as sampling has them."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.causal import Blocks
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import parse
from fp_lab.recipe.orders import plan
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.section_context import CachedHistory
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig

NAME = "f5k1_g3"
RECIPE, BLOCKS = parse(NAME), Blocks(section=3, history=5)
CAUSAL = ContextConfig(attention="block_causal")
FRAMES = 20


def causal_model(depth: int = 3) -> FramePackModel:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=2, width=32, depth=depth, head_width=16))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    assert backbone.moment is not None
    torch.nn.init.normal_(backbone.moment.weight, std=0.3)
    return FramePackModel(backbone, [], "clean", CAUSAL).eval()


def seen(frame: int, frames: Tensor) -> list[int]:
    mask = BLOCKS.mask(frames[None], 1)[0]
    row = frames.tolist().index(frame)
    return [f for f, sees in zip(frames.tolist(), mask[row].tolist(), strict=True) if sees]


def test_a_query_sees_its_block_and_the_window_before_it() -> None:
    frames = torch.arange(13)
    assert BLOCKS.index(frames).tolist() == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert BLOCKS.moments(frames).tolist() == [0, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert seen(0, frames) == [0]
    assert seen(2, frames) == [0, 1, 2, 3]
    assert seen(7, frames) == seen(9, frames) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert seen(12, frames) == [5, 6, 7, 8, 9, 10, 11, 12]
    over_tokens = BLOCKS.mask(frames[None], 4)
    assert over_tokens.shape == (1, 52, 52)
    assert torch.equal(over_tokens[:, ::4, ::4], BLOCKS.mask(frames[None], 1))


def test_windows_are_those_of_the_sampler() -> None:
    windows = BLOCKS.windows(FRAMES)
    for window, section in zip(windows, plan(RECIPE, FRAMES), strict=True):
        first = section.targets[0]
        assert list(window) == [*range(max(0, first - 5), first), *section.targets]
    drawn = [BLOCKS.draw_window(2, FRAMES, torch.Generator().manual_seed(seed)) for seed in range(60)]
    assert {tuple(row) for frames in drawn for row in frames.tolist()} == {tuple(w) for w in windows}


def test_blocks_have_levels_of_their_own_and_the_first_frame_is_given() -> None:
    frames = torch.stack([torch.arange(9), torch.arange(4, 13)])
    levels = BLOCKS.draw_levels(frames, 0.0, torch.Generator().manual_seed(0))
    assert levels[0, 0] == 0
    for item in range(2):
        blocks = BLOCKS.index(frames[item])
        for block in blocks.unique():
            assert len(levels[item][blocks == block].unique()) == 1
        assert len(levels[item].unique()) == len(blocks.unique())
    clean = BLOCKS.draw_levels(frames, 1.0, torch.Generator().manual_seed(0))
    assert (clean[:, :-3] == 0).all() or (clean[0, :7] == 0).all()
    assert (clean[0, -2:] > 0).all()
    assert (clean[1, -3:] > 0).all()
    assert (clean[1, :-3] == 0).all()


@pytest.mark.parametrize("captions", [["red", "a blue ball"]])
def test_cached_keys_and_values_give_what_the_whole_sequence_gives(captions: Sequence[str]) -> None:
    model = causal_model()
    text = model.backbone.encode_text(captions)
    truth = torch.randn(2, 2, FRAMES, 4, 6)
    history = CachedHistory(model, RECIPE)
    history.learn([0], truth[:, :, :1], [text])
    with torch.no_grad():
        for index, section in enumerate(plan(RECIPE, FRAMES)):
            targets = list(section.targets)
            attended = history.attended(index, section, [text])
            noisy = torch.randn(2, 2, len(targets), 4, 6)
            sigma = torch.full((2,), 0.6)
            cached = model.denoise(noisy, sigma, attended.under(0.6)[0])
            frames = torch.arange(targets[-1] + 1).expand(2, -1)
            whole = torch.cat((truth[:, :, : targets[0]], noisy), 2)
            levels = torch.where(frames >= targets[0], 0.6, 0.0)
            mask = BLOCKS.mask(frames, 2 * 3)
            at_once = model(whole, frames, levels, text, None, mask, BLOCKS.moments(frames))
            torch.testing.assert_close(cached, at_once[:, :, -len(targets) :], atol=1e-5, rtol=1e-5)
            history.learn(targets, truth[:, :, targets], [text])
            kept = history.memories[0]
            assert kept.keys[0].shape[2] <= 5 * 6, "memory does not grow with the video"


def system(history: HistoryConfig | None = None) -> FramePackSystem:
    objective = ObjectiveConfig(history=history or HistoryConfig(clean=0.25))
    return FramePackSystem(causal_model(), BLOCKS, objective, OptimizerConfig(), steps=1, seed=0)


def test_training_asks_for_every_noisy_block_and_for_no_given_frame() -> None:
    subject = system()
    still = torch.randn(2, 2, 1, 4, 6).expand(-1, -1, FRAMES, -1, -1).contiguous()
    batch = {"latents": still, "captions": ["a", "b"]}
    loss = subject.section_loss(batch, step_generator(0, 0, 0))
    loss.backward()
    assert loss.isfinite()
    gradient = subject.model.backbone.embed.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_the_window_is_masked_and_told_as_sampling_will_be() -> None:
    subject, calls = system(HistoryConfig(clean=0.5)), []
    forward = subject.model.forward
    subject.model.forward = lambda *args: (calls.append(args), forward(*args))[1]  # type: ignore[method-assign, func-returns-value]
    latents = torch.randn(2, 2, FRAMES, 4, 6)
    losses = [
        subject.section_loss({"latents": latents, "captions": ["a", "b"]}, step_generator(0, 0, step))
        for step in range(6)
    ]
    for (noisy, frames, levels, _, context, mask, moments), loss in zip(calls, losses, strict=True):
        assert context is None
        assert torch.equal(mask, BLOCKS.mask(frames, 6))
        assert torch.equal(moments, BLOCKS.moments(frames))
        given = levels == 0
        truth = latents.movedim(1, 2)[torch.arange(2)[:, None], frames].movedim(2, 1)
        assert torch.equal(noisy.movedim(1, 2)[given], truth.movedim(1, 2)[given]), "given frames are clean"
        assert loss < 1e3, "a clean frame would weigh 1 / 0.05^2"


def test_frames_that_are_given_do_not_count_in_the_loss() -> None:
    subject = system(HistoryConfig(clean=1.0))
    torch.nn.init.zeros_(subject.model.backbone.final.weight)  # predicts zeros, whatever it is given
    latents = torch.randn(2, 2, 4, 4, 6)
    other = latents.clone()
    other[:, :, 0] *= 100
    losses = [
        subject.section_loss({"latents": x, "captions": ["a", "b"]}, step_generator(0, 0, 0)).item()
        for x in (latents, other)
    ]
    assert losses[0] == losses[1]


def test_blocks_and_attention_go_together() -> None:
    model = FramePackModel(causal_model().backbone, [], "clean")
    with pytest.raises(ValueError, match=r"context\.attention: got 'full' .*\bBlocks\b"):
        FramePackSystem(model, BLOCKS, ObjectiveConfig(), OptimizerConfig(), steps=1, seed=0)
    source = PlannedSections(RECIPE)
    with pytest.raises(ValueError, match=r"context\.attention: got 'block_causal' .*\bPlannedSections\b"):
        FramePackSystem(causal_model(), source, ObjectiveConfig(), OptimizerConfig(), steps=1, seed=0)


@pytest.mark.parametrize(
    "name", ["td_f16k4f2k2f1k1_g9", "g9", "f1k1_x_f5k1_g3", "tc_f5k1_g3", "g3_f1k1", "f5k1_g3+D16"]
)
def test_recipes_with_anything_packed_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"context\.attention: got 'block_causal' .*\brecipe .*expected"):
        Blocks.of(parse(name))


def test_rollouts_depend_on_their_seed_alone_and_on_the_guidance() -> None:
    model, first = causal_model(), torch.randn(2, 2, 1, 4, 6)

    def run(rows: list[int], guidance: float = 1.0) -> Tensor:
        video = torch.zeros(len(rows), 2, FRAMES, 4, 6)
        for made in rollout(
            model,
            RECIPE,
            first[rows],
            frames=FRAMES,
            captions=[["red", "a blue ball"][row] for row in rows],
            seeds=rows,
            sampling=SamplingConfig(SolverConfig("euler", 2), guidance=guidance),
        ):
            video[:, :, list(made.section.targets)] = made.latents
        return video

    together = run([0, 1])
    torch.testing.assert_close(together[1:], run([1]), atol=1e-5, rtol=1e-4)
    assert (together[:, :, 1:].abs().amax((1, 3, 4)) > 0).all()
    assert (run([0, 1], guidance=3.0) - together).abs().max() > 1e-3


def test_a_window_that_begins_inside_a_block_tells_moments_as_sampling_does() -> None:
    """History of five frames, sections of three: frames 2 to 9 begin at a block's second frame."""
    backbone = causal_model().backbone
    window, block = torch.arange(2, 10)[None], torch.arange(7, 10)[None]
    trained, sampled = (
        backbone._whereabouts(frames, (4, 4), BLOCKS.moments(frames)) for frames in (window, block)
    )
    torch.testing.assert_close(trained[:, -sampled.shape[1] :], sampled)
