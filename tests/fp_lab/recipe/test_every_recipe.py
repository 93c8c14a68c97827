"""Whatever the notation can say is packed, trained and sampled: property tests over all of it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections, arrange, arrange_videos, assemble
from fp_lab.packing.context import ContextConfig, ImportanceConfig, Missing
from fp_lab.packing.packer import ContextPacker, kernels_of
from fp_lab.packing.rope import RopeConfig
from fp_lab.packing.token_counts import context_length, context_limit, context_tokens, with_history
from fp_lab.recipe import Recipe, parse
from fp_lab.recipe.compressions import from_parts
from fp_lab.recipe.orders import Section, plan
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from strategies import names

ROPE = RopeConfig(256.0, (2, 2, 4))
ROWS, COLUMNS = 6, 10


def packer_for(recipe: Recipe, config: ContextConfig | None = None) -> ContextPacker:
    torch.manual_seed(0)
    return ContextPacker(kernels_of(recipe), 2, 4, ROPE, config)


@settings(max_examples=60, deadline=None)
@given(names(), st.integers(0, 400))
def test_any_name_packs_any_history_into_the_tokens_that_are_counted(name: str, history: int) -> None:
    recipe = parse(name)
    placed = with_history(recipe, history)
    latents = torch.randn(1, 2, placed.length, ROWS, COLUMNS)
    sample = assemble(latents, [arrange(recipe, placed.section, placed.length)])
    packed = packer_for(recipe)(sample.context)
    tokens = 0 if packed is None else packed.tokens.shape[1]
    assert tokens == context_tokens(recipe, placed.section, placed.length, ROWS, COLUMNS).total
    if packed is not None:
        assert packed.phases.cos.shape == packed.phases.sin.shape == (1, tokens, 4)
        assert packed.tokens.isfinite().all()
        assert (packed.phases.cos.square() + packed.phases.sin.square() <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        # frames 0 and 3 at (1,2,2), 3 x 5 tokens each; between them 1 and 2, two at (2,4,4), 2 x 3 tokens
        (ContextConfig(), 15 + 15 + 6),
        (ContextConfig(missing="zero"), 15 + 15 + 2 * 6),
        (ContextConfig(start_in_history=True), 15 + 15 + 6 + 6),
        (ContextConfig(start_in_history=True, missing="zero"), 15 + 15 + 2 * 6),
        (ContextConfig(start_in_history=True, missing="mask"), 15 + 15 + 2 * 6),
    ],
)
def test_tokens_are_counted_as_the_options_pack_them(config: ContextConfig, tokens: int) -> None:
    recipe, section = parse("f1k1_x_f4k2f1k1_g4"), Section((4, 5, 6, 7), frozenset(range(4)))
    latents = torch.randn(1, 2, 8, ROWS, COLUMNS)
    arrangement = arrange(recipe, section, 8, config)
    sample = assemble(latents, [arrangement], config.missing)
    packed = packer_for(recipe, config)(sample.context)
    assert packed is not None
    assert packed.tokens.shape[1] == tokens
    assert context_tokens(recipe, section, 8, ROWS, COLUMNS, config).total == tokens


@settings(max_examples=40, deadline=None)
@given(names(), st.integers(0, 399))
def test_the_context_grows_to_its_limit_and_by_the_tail_alone_beyond(name: str, history: int) -> None:
    recipe = parse(name)
    now, then = (context_length(recipe, n, ROWS, COLUMNS) for n in (history, history + 1))
    limit = context_limit(recipe, ROWS, COLUMNS)
    if limit is not None:
        assert now <= then <= limit
    else:
        assert now <= then


@pytest.mark.parametrize("history", [18, 19, 20, 21, 100, 400])
def test_ta_costs_its_limit_and_a_token_for_every_tail_frame(history: int) -> None:
    tail, none = (parse(f"{t}_f16k4f2k2f1k1_g9") for t in ("ta", "td"))
    limit = context_limit(none, 60, 104)
    assert limit is not None
    expected = context_length(none, history, 60, 104) + max(0, history - 19)
    assert context_length(tail, history, 60, 104) == expected
    if history >= 19:
        assert expected == limit + history - 19


@settings(max_examples=25, deadline=None)
@given(names(), st.integers(2, 60), st.sampled_from(["zero", "drop", "mask"]))
def test_no_frame_that_is_not_known_reaches_the_context(name: str, frames: int, missing: Missing) -> None:
    recipe = parse(name)
    latents = torch.randn(1, 2, frames, ROWS, COLUMNS)
    packer = packer_for(recipe)
    for section in plan(recipe, frames)[:6]:
        arrangement = arrange(recipe, section, frames)
        unknown = [frame for frame in range(frames) if frame not in section.known]
        other = latents.clone()
        other[:, :, unknown] += 1000
        one, two = (packer(assemble(x, [arrangement], missing).context) for x in (latents, other))
        assert (one is None) == (two is None)
        if one is not None:
            assert two is not None
            assert torch.equal(one.tokens, two.tokens)


KEEPING = st.sampled_from(["important_start", "symmetric", "f1k1f2k2_x_f16k4f1k1"])


@settings(max_examples=60, deadline=None)
@given(KEEPING, st.sampled_from(["vanilla", "endpoint", "inverted"]), st.integers(1, 12), st.integers(2, 200),
       st.integers(1, 5))  # fmt: skip
def test_the_first_frame_is_fully_resolved_in_every_section(
    compression: str, order: str, section: int, frames: int, given: int
) -> None:
    recipe = from_parts(compression, order, section)
    # the inverted order keeps the frame that it leads to, which of a clip is the last one
    begin = range(1 if order == "inverted" else min(given, frames - 1))
    for call in plan(recipe, frames, given=frozenset(begin)):
        slots = arrange(recipe, call, frames).slots
        (kernel,) = [
            (slot.kernel.t, slot.kernel.h, slot.kernel.w)
            for slot in slots
            if 0 in {frame for frame, known in zip(slot.frames, slot.known, strict=True) if known}
        ]
        assert kernel == (1, 2, 2), call


@pytest.mark.parametrize("name", ["td_f16k4f2k2f1k1_g9", "f1k1_x_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_tc"])
@pytest.mark.parametrize("start_in_history", [False, True])
def test_a_frame_is_encoded_once_but_for_the_start_in_history(name: str, start_in_history: bool) -> None:
    recipe = parse(name)
    config = ContextConfig(start_in_history=start_in_history)
    twice = 0
    for section in plan(recipe, 40):
        arrangement = arrange(recipe, section, 40, config)
        packed = [
            frame
            for slot in arrangement.slots
            for frame, known in zip(slot.frames, slot.known, strict=True)
            if known
        ]
        packed += [frame for tail in arrangement.tails for frame in tail.frames]
        twice += len(packed) - len(set(packed))
        assert {frame for frame in packed if packed.count(frame) > 1} <= {0}
    assert (twice > 0) == (start_in_history and name.startswith("f1k1_x_f"))


RECIPES = [
    "ta_f4k2f1k1_g4",
    "tc_f4k2f1k1_g4",
    "f1k1_x_g4_f1k1f4k2_ta",
    "f1k1_x_g4_f1k1f4k2_tc",
    "td_f9k16f1k1_g4",
    "td_f9k16f8k8f2k2f1k1_g4",
    "f3k1_x_f4k2f1k1_g4",
    "f4k2f1k1_g4_x_f1k1_x_f1k1",
    "td_f4k2f1k1_x_g4_x_f1k1",
    str(from_parts("rate2.625", "vanilla", 4)),
    str(from_parts("symmetric", "inverted", 4)),
    str(from_parts("important_start", "vanilla", 4)),
]
OPTIONS = [
    ContextConfig(),
    ContextConfig(projection="shared", missing="mask"),
    ContextConfig(phases="midpoint", positions="relative", missing="zero"),
    ContextConfig(padding="released", start_in_history=True, timestep="zero", text="noisy", amplify=True),
    ContextConfig(timestep="zero", attention="isolated", text="noisy"),
    ContextConfig(importance=ImportanceConfig("hybrid")),
]
FRAMES = 30


def model_for(recipe: Recipe, config: ContextConfig) -> FramePackModel:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=2, width=32, depth=2, head_width=16))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    return FramePackModel(backbone, kernels_of(recipe), "clean", config)


@pytest.mark.parametrize("config", OPTIONS, ids=str)
@pytest.mark.parametrize("name", RECIPES)
def test_every_structure_trains_and_samples_under_every_option(name: str, config: ContextConfig) -> None:
    recipe = parse(name)
    model = model_for(recipe, config)
    latents = torch.randn(2, 2, FRAMES, 4, 6)
    source = PlannedSections(recipe)
    system = FramePackSystem(model, source, ObjectiveConfig(), OptimizerConfig(), steps=1, seed=0)
    loss = torch.stack(
        [
            system.section_loss({"latents": latents, "captions": ["a", "b"]}, step_generator(0, 0, step))
            for step in range(12)
        ]
    ).mean()
    loss.backward()
    assert loss.isfinite()
    gradients = {
        n: 0.0 if p.grad is None else p.grad.abs().sum().item() for n, p in model.packer.named_parameters()
    }
    assert all(gradient > 0 for gradient in gradients.values()), gradients
    sampling = SamplingConfig(SolverConfig("euler", 1))
    made = list(
        rollout(model.eval(), recipe, latents[:, :, :1], frames=FRAMES, captions=["a", "b"], seeds=[0, 1],
                sampling=sampling)
    )  # fmt: skip
    assert sorted(f for section in made for f in section.section.targets) == list(range(1, FRAMES))
    assert all(section.latents.isfinite().all() for section in made)


@pytest.mark.parametrize("config", OPTIONS, ids=str)
@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_equals_its_items_one_by_one(name: str, config: ContextConfig) -> None:
    recipe = parse(name)
    model = model_for(recipe, config).eval()
    latents = torch.randn(3, 2, FRAMES, 4, 6)
    sections = plan(recipe, FRAMES)
    same = [s for s in sections if len(s.targets) == len(sections[-2].targets)]
    chosen = [same[0], same[len(same) // 2], same[-1]]
    captions, sigmas = ["red ball", "blue", "a green square"], torch.tensor([0.9, 0.5, 0.2])

    def predict(items: list[int]) -> Tensor:
        arrangements = arrange_videos(recipe, [chosen[i] for i in items], latents[items], config)
        sample = assemble(latents[items], arrangements, config.missing)
        text = model.backbone.encode_text([captions[i] for i in items])
        context = model.memory_of(model.pack(sample.context), text)
        return model(sample.target, sample.times, sigmas[items], text, context)

    with torch.no_grad():
        together = predict([0, 1, 2])
        for item in range(3):
            torch.testing.assert_close(together[item], predict([item])[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("tail", ["ta", "tc"])
def test_the_tail_tells_of_frames_beyond_the_levels(tail: str) -> None:
    recipe, config = parse(f"{tail}_f4k2f1k1_g4"), ContextConfig()
    packer = packer_for(recipe)
    placed = with_history(recipe, 20)
    latents = torch.randn(1, 2, placed.length, ROWS, COLUMNS)
    changed = latents.clone()
    changed[:, :, 3] += 1
    arrangement = arrange(recipe, placed.section, placed.length, config)
    one, two = (packer(assemble(x, [arrangement]).context) for x in (latents, changed))
    different = (one.tokens != two.tokens).any(-1)[0].tolist()
    levels = context_tokens(recipe, placed.section, placed.length, ROWS, COLUMNS)
    assert not any(different[: sum(levels.levels)])
    assert sum(different) == (1 if tail == "ta" else levels.tail)


def test_the_tail_average_is_the_projection_of_the_mean_frame() -> None:
    recipe = parse("tc_f4k2f1k1_g4")
    packer = packer_for(recipe)
    placed = with_history(recipe, 20)
    latents = torch.randn(1, 2, placed.length, 4, 4)
    packed = packer(assemble(latents, [arrange(recipe, placed.section, placed.length)]).context)
    mean = latents[:, :, :15].mean(2, keepdim=True)
    farthest = packer.projections["2x4x4"]
    expected = farthest(mean.expand(-1, -1, 2, -1, -1)).flatten(2).mT
    torch.testing.assert_close(packed.tokens[:, -1:], expected)
    angles = torch.arange(15.0)[:, None] / 256 ** torch.tensor([0.0])
    torch.testing.assert_close(packed.phases.cos[0, -1, :1], angles.cos().mean(0))


@pytest.mark.parametrize("name", ["td_f4k2f1k1_g4", "tc_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_tc"])
def test_a_long_history_takes_no_more_memory_than_a_short_one(name: str) -> None:
    recipe, peaks = parse(name), []
    packer = packer_for(recipe)
    for history in (64, 2048):
        placed = with_history(recipe, history)
        latents = torch.randn(2, 2, placed.length, 16, 16)
        tracker = MemTracker()
        tracker.track_external(latents)
        with tracker:
            packer(assemble(latents, [arrange(recipe, placed.section, placed.length)] * 2).context)
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
        peaks.append(peak - latents.untyped_storage().nbytes())
    frame = 2 * 2 * 16 * 16 * 4
    assert peaks[1] - peaks[0] < 2048 * 2 * 8 * 12, "positions and weights of frames, no latents"
    assert peaks[1] - peaks[0] < 200 * frame


def test_each_tail_frame_is_the_projection_of_its_mean_pixel() -> None:
    recipe = parse("ta_f4k2f1k1_g4")
    packer = packer_for(recipe)
    placed = with_history(recipe, 8)
    latents = torch.randn(1, 2, placed.length, 6, 10)
    packed = packer(assemble(latents, [arrange(recipe, placed.section, placed.length)]).context)
    pixels = latents[:, :, :3].mean((-2, -1), keepdim=True)
    farthest = packer.projections["2x4x4"]
    for frame in range(3):
        pixel = pixels[:, :, frame : frame + 1].expand(-1, -1, 2, 4, 4)
        torch.testing.assert_close(packed.tokens[:, -3 + frame], farthest(pixel)[:, :, 0, 0, 0])
    assert packed.phases.cos[0, -3:, 0].tolist() == pytest.approx([math.cos(t) for t in range(3)], abs=1e-6)


def test_k16_is_k8_on_the_halved_latent() -> None:
    recipe = parse("td_f16k16f8k8_g1")
    packer = packer_for(recipe)
    assert set(packer.projections) == {"8x16x16"}
    latents = torch.randn(1, 2, 24, 32, 32)
    frames = with_history(recipe, 24)
    padded = torch.cat((latents, latents[:, :, :1]), 2)
    packed = packer(assemble(padded, [arrange(recipe, frames.section, frames.length)]).context)
    halved = torch.nn.functional.avg_pool3d(latents[:, :, :16], 2)
    expected = packer.projections["8x16x16"](halved).flatten(2).mT
    torch.testing.assert_close(packed.tokens[:, :1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["td_f16k16f8k8f4k4f2k2f1k1_g1", "td_f2k1h8w8f1k1h8w4f1k1h4w2f1k1_g1"])
def test_shared_parameters_equal_interpolated_ones(name: str) -> None:
    recipe = parse(name)
    base = torch.nn.Conv3d(2, 4, (1, 2, 2), stride=(1, 2, 2))
    shared = packer_for(recipe, ContextConfig(projection="shared"))
    independent = packer_for(recipe)
    assert set(shared.projections) == {"1x2x2"}
    for packer in (shared, independent):
        packer.initialise_from(base)
    placed = with_history(recipe, 40)
    sample = assemble(
        torch.randn(1, 2, placed.length, 10, 12), [arrange(recipe, placed.section, placed.length)]
    )
    one, two = shared(sample.context), independent(sample.context)
    torch.testing.assert_close(one.tokens, two.tokens, atol=1e-5, rtol=1e-5)
    assert torch.equal(one.phases.cos, two.phases.cos)
    random = packer_for(recipe, ContextConfig(init="random"))
    before = {name: value.clone() for name, value in random.state_dict().items()}
    random.initialise_from(base)
    assert all(torch.equal(before[name], value) for name, value in random.state_dict().items())


def test_a_mask_keeps_missing_frames_from_being_attended_to() -> None:
    recipe = parse("td_f4k2f1k1_g4")
    section = plan(recipe, 20)[0]  # frame 0 alone is known
    latents = torch.randn(1, 2, 20, 4, 4)
    samples = {m: assemble(latents, [arrange(recipe, section, 20)], m) for m in ("zero", "mask", "drop")}  # type: ignore[arg-type]
    packer = packer_for(recipe)
    tokens = {m: packer(sample.context).tokens.shape[1] for m, sample in samples.items()}
    assert tokens == {"zero": 2 + 4, "mask": 4, "drop": 4}
    later = plan(recipe, 20)[1]
    pair = assemble(torch.randn(2, 2, 20, 4, 4), [arrange(recipe, s, 20) for s in (section, later)], "mask")
    packed = packer(pair.context)
    assert packed.mask.sum(1).tolist() == [4, 2 + 4]


def test_shares_of_a_kernel_with_missing_frames_hold_zeros_under_a_mask() -> None:
    recipe = parse("td_f4k4f1k1_g4")
    section = replace(plan(recipe, 20)[0], targets=(3, 4, 5, 6), known=frozenset({0, 1, 2}))
    level = assemble(torch.ones(1, 2, 20, 4, 4), [arrange(recipe, section, 20)], "mask").context[0]
    assert level.latents[0, 0, :, 0, 0].tolist() == [0, 0, 1, 1]
    assert level.known[0].tolist() == [False, False, True, True]
    assert level.times[0].tolist() == [-2, -1, 0, 1]
