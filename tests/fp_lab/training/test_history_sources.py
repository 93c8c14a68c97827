"""Where training histories come from: each source against what it does by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from fp_data.latents import LatentBatches, LatentVideos
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import (
    HISTORY_SOURCES,
    AugmentedConfig,
    RecycledConfig,
    ResampledConfig,
    ReversedConfig,
    RolloutConfig,
)
from fp_lab.flow.matching import FlowConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import Arrangement, MixedSections, PlannedSections
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling import rollout as rollout_module
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.history import (
    HistorySource,
    Prediction,
    RecycledHistory,
    ReversedHistory,
    RolloutHistory,
    TrainingStep,
    Videos,
    make_source,
)
from fp_lab.training.history import rollout as source_module
from fp_lab.training.history.augmented import augment
from fp_lab.training.history.recycled import ErrorBank
from fp_lab.training.history.source import sampled_beside
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig

VANILLA, INVERTED = "td_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_td"
FRAMES, SECTIONS = 17, 4
VIDEOS = torch.randn(6, 4, FRAMES, 4, 4, generator=Generator().manual_seed(5))


def system(history: HistoryConfig, name: str = VANILLA, output: Any = "clean") -> FramePackSystem:
    torch.manual_seed(0)
    recipe = parse(name)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=1, head_width=16))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    model = FramePackModel(backbone, kernels_of(recipe), output)
    objective = ObjectiveConfig(FlowConfig(output=output), history=history)
    optimizer = OptimizerConfig(learning_rate=5e-3, warmup=2)
    return FramePackSystem(model, PlannedSections(recipe), objective, optimizer, steps=6, seed=0)


def batch(number: int = 0) -> Any:
    videos = LatentVideos(VIDEOS, ("moving",) * 6, tuple(range(6)))
    return LatentBatches(videos, 4, seed=0).batch(number)


def step_of(subject: FramePackSystem, latents: Tensor = VIDEOS, seed: int = 0) -> TrainingStep:
    captions = ["moving"] * len(latents)
    generator = Generator().manual_seed(seed)
    return TrainingStep(subject.model, latents, captions, None, subject.source, subject.objective, generator)


def losses(history: HistoryConfig, name: str = VANILLA, count: int = 3) -> list[float]:
    subject = system(history, name)
    return [subject.section_loss(batch(), step_generator(0, 0, number)).item() for number in range(count)]


def solves_to(answer: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Sampling whose solver returns the section of `answer` that comes next in the plan of `VANILLA`."""
    made: list[torch.Size] = []

    def solver(velocity: Any, noise: Tensor, sigmas: Tensor) -> Tensor:
        start = 1 + 4 * (len(made) % SECTIONS)
        made.append(noise.shape)
        return answer[: len(noise), :, start : start + 4]

    monkeypatch.setattr(rollout_module, "solver_of", lambda config: solver)
    return made


# augmented


def test_each_frame_is_damaged_in_one_way_or_not_at_all() -> None:
    # one pixel of values 1 and 3: noise of level 0 and another size leave it, saturation keeps its mean 2
    latents = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1, 1).expand(50, -1, 40, -1, -1)
    low, high = augment(latents, AugmentedConfig(noise=0.0), Generator().manual_seed(1))[..., 0, 0].unbind(1)
    torch.testing.assert_close(low + high, torch.full_like(low, 4.0))
    factors = (high - low) / 2
    stretched = factors[factors != 1]
    assert len(stretched) / factors.numel() == pytest.approx(0.3, abs=0.03)
    assert 0.3 <= stretched.min() < 0.35
    assert 1.65 < stretched.max() <= 1.7
    assert (factors.std(1) > 0.1).all(), "each frame alone"
    # four pixels to one and back: their mean
    square = torch.randn(50, 2, 40, 2, 2, generator=Generator().manual_seed(2))
    config = AugmentedConfig(noise=0.0, saturation=0.0, smallest=0.5)
    damaged = augment(square, config, Generator().manual_seed(3))
    mean = square.mean((-2, -1), keepdim=True).expand_as(square)
    means, same = ((damaged - other).abs().amax((1, 3, 4)) < 1e-6 for other in (mean, square))
    assert (means ^ same).all()
    # half of the factors from .5 to 1 round to one pixel
    assert means.float().mean().item() == pytest.approx(0.15, abs=0.03)


def test_noise_differs_between_frames_and_not_between_runs() -> None:
    config, zeros = AugmentedConfig(saturation=0.0, smallest=1.0), torch.zeros(20, 4, 30, 8, 8)
    noisy = augment(zeros, config, Generator().manual_seed(1))
    assert torch.equal(noisy, augment(zeros, config, Generator().manual_seed(1)))
    levels = noisy.movedim(2, 1).flatten(2).std(2)
    touched = levels[levels > 0]
    assert len(touched) / levels.numel() == pytest.approx(0.3, abs=0.05)
    assert touched.max() < 1.15 / 3
    assert len(touched.unique()) == len(touched)
    assert touched.mean().item() == pytest.approx(1 / 6, abs=0.02), "uniform from 0 to 1/3"
    assert torch.equal(augment(zeros + 1, replace(config, clean=1.0), Generator()), zeros + 1)


# recycled


def test_errors_are_kept_by_noise_level_the_oldest_out_first() -> None:
    bank = ErrorBank(RecycledConfig(bins=2, entries=3))
    assert bank.draw(torch.zeros(1, 5, 1, 1), Generator()) is None
    for value, sigma in enumerate((0.1, 0.2, 0.3, 0.4, 0.7, 1.0)):
        bank.put(torch.full((1, 2, 1, 1), float(value)), sigma)
    assert len(bank) == 5
    assert bank.bytes == 5 * 2 * 4, "two float32 each"
    drawn = [bank.draw(torch.zeros(1, 5, 1, 1), Generator().manual_seed(seed)) for seed in range(200)]
    values = torch.stack([error[0, 0, 0, 0] for error in drawn if error is not None])
    assert values.unique().tolist() == [1, 2, 3, 4, 5], "0 is out"
    for _ in range(100):
        bank.put(torch.zeros(1, 2, 1, 1), 0.1)
    assert bank.bytes == 5 * 2 * 4
    assert bank.draw(torch.zeros(1, 5, 2, 2), Generator()) is None, "of another size"


def test_the_frames_of_an_error_follow_each_other() -> None:
    bank = ErrorBank(RecycledConfig())
    bank.put(torch.arange(3.0).reshape(1, 3, 1, 1), 0.5)
    starts = set()
    for seed in range(20):
        error = bank.draw(torch.zeros(1, 7, 1, 1), Generator().manual_seed(seed))
        assert error is not None
        frames = error.flatten().tolist()
        starts.add(frames[0])
        assert all((after - before) % 3 == 1 for before, after in pairwise(frames))
    assert starts == {0, 1, 2}


def test_an_error_is_the_one_step_prediction_less_the_truth() -> None:
    config = HistoryConfig("recycled", recycled=RecycledConfig(bins=10, clean=0.0, share=1.0))
    subject = system(config)
    source, step = subject.history_source, step_of(subject)
    assert isinstance(source, RecycledHistory)
    assert source.videos(step).history is VIDEOS, "an empty bank"
    target, noise = VIDEOS[:, :, 1:5], torch.randn(6, 4, 4, 4, 4)
    sigmas = torch.full((6,), 0.25)
    # a velocity that is wrong by 2: x_t - sigma (v + 2) = x_0 - 0.5
    source.observe(step, Prediction(0.75 * target + 0.25 * noise, noise - target + 2, target, sigmas))
    (bins,) = source.bank.kept.values()
    assert [len(errors) for errors in bins] == [0, 0, 6, 0, 0, 0, 0, 0, 0, 0]
    torch.testing.assert_close(source.videos(step).history, VIDEOS - 0.5)
    with torch.no_grad():
        source.observe(step, Prediction(noise, noise, target, sigmas))
    assert len(source.bank) == 6, "a loss that is only measured"


def test_clean_videos_give_and_get_no_error() -> None:
    subject = system(HistoryConfig("recycled", recycled=RecycledConfig(clean=0.5, share=1.0)))
    source = subject.history_source
    assert isinstance(source, RecycledHistory)
    given = 0
    for number in range(30):
        step = step_of(subject, seed=number)
        history, before = source.videos(step).history, len(source.bank)
        clean = (history == VIDEOS).flatten(1).all(1)
        error = torch.ones(6, 4, 4, 4, 4)
        source.observe(step, Prediction(error, torch.zeros_like(error), 0 * error, torch.ones(6)))
        if before:
            assert len(source.bank) - before == 6 - int(clean.sum())
        given += len(source.bank) - before
    assert given / 180 == pytest.approx(0.5, abs=0.12)


# resampled


def test_the_section_before_is_resampled_from_the_drawn_level(monkeypatch: pytest.MonkeyPatch) -> None:
    level = torch.sigmoid(torch.tensor(-1.0)).item()
    made = []
    for steps in (1, 2):
        config = ResampledConfig(steps=steps, mean=-1.0, std=0.0)
        subject = system(HistoryConfig("resampled", resampled=config), output="velocity")
        # v = x, so that each step scales x by 1 - t_s / steps
        monkeypatch.setattr(subject.model, "denoise", lambda x, sigmas, section: x)
        step = step_of(subject)
        sections = subject.source.sections(FRAMES, 1)  # type: ignore[union-attr]
        drawn = [sections[index] for index in (0, 1, 1, 2, 3, 3)]
        history = subject.history_source.resample(step, [Arrangement(one.targets, ()) for one in drawn])
        assert history is not None
        made.append(history)
        changed = (history != VIDEOS).flatten(3).any(3).any(1)
        expected = torch.zeros(6, FRAMES, dtype=torch.bool)
        for row, start in ((1, 1), (2, 1), (3, 5), (4, 9), (5, 9)):
            expected[row, start : start + 4] = True
        assert torch.equal(changed, expected)
    one, two = (history[changed[:, None, :, None, None].expand_as(history)] for history in made)
    torch.testing.assert_close(two / one, torch.full_like(one, (1 - level / 2) ** 2 / (1 - level)))
    clean = VIDEOS[changed[:, None, :, None, None].expand_as(VIDEOS)]
    noise = (one / (1 - level) - (1 - level) * clean) / level
    assert noise.std().item() == pytest.approx(1, abs=0.1)
    assert noise.mean().item() == pytest.approx(0, abs=0.1)


# rollout and reversed


def test_histories_are_rolled_out_from_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = torch.arange(FRAMES).float()[None, None, :, None, None].expand(6, 4, -1, 4, 4) + 100
    solves_to(answer, monkeypatch)
    subject = system(HistoryConfig("rollout", rollout=RolloutConfig(every=2)))
    videos = subject.history_source.videos(step_of(subject))
    assert torch.equal(videos.history[:, :, :1], VIDEOS[:, :, :1]), "the given frame"
    assert torch.equal(videos.history[:, :, 1:13], answer[:, :, 1:13])
    assert torch.equal(videos.history[:, :, 13:], VIDEOS[:, :, 13:]), "the last section is in no history"
    assert videos.targets is VIDEOS


def test_rollouts_are_refreshed_now_and_then_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = solves_to(VIDEOS + 1, monkeypatch)
    subject = system(HistoryConfig("rollout", rollout=RolloutConfig(every=3, videos=3)))
    source = subject.history_source
    assert isinstance(source, RolloutHistory)
    for number, first in enumerate((0, 2, 0, 4)):
        videos = source.videos(step_of(subject, VIDEOS[first : first + 2], seed=number))
        own = (videos.history != videos.targets).flatten(1).any(1).tolist()
        assert own == ([False, False] if number == 1 else [True, True]), "videos 2 and 3 have none"
        assert len(made) == 3 * (1 + number // 3)
    assert next(iter(source.rollouts.kept.values())).equal(_rolled(1)), "the oldest is out"
    assert source.rollouts.bytes == 3 * VIDEOS[0].nbytes
    with torch.no_grad():
        source.videos(step_of(subject, VIDEOS[2:4]))
    assert (len(made), source.rollouts.batches) == (6, 4), "a loss that is only measured"
    none = system(HistoryConfig("rollout", rollout=RolloutConfig(share=0.0)))
    assert torch.equal(none.history_source.videos(step_of(none)).history, VIDEOS)


def _rolled(video: int) -> Tensor:
    """A video whose frames 1 to 12 are made by a solver that returns those of the first videos plus 1."""
    latents = VIDEOS[video].clone()
    latents[:, 1:13] += 1
    return latents


def test_a_reversed_rollout_leads_to_the_true_start(monkeypatch: pytest.MonkeyPatch) -> None:
    solves_to(VIDEOS + 1, monkeypatch)
    subject = system(HistoryConfig("reversed", reversed=ReversedConfig(share=1.0)))
    videos = subject.history_source.videos(step_of(subject))
    for frame in range(FRAMES):
        there = FRAMES - 1 - frame
        drift = 0 if there == 0 else 1
        assert torch.equal(videos.history[:, :, frame], VIDEOS[:, :, there] + drift)
        assert torch.equal(videos.targets[:, :, frame], VIDEOS[:, :, there])
    half = system(HistoryConfig("reversed"))
    backwards = 0
    for number in range(20):
        drawn = half.history_source.videos(step_of(half, seed=number))
        forward = (drawn.targets == VIDEOS).flatten(1).all(1)
        backwards += int((~forward).sum())
        assert torch.equal(drawn.targets[~forward], VIDEOS[~forward].flip(2))
    assert backwards / 120 == pytest.approx(0.5, abs=0.15)


def test_a_video_that_begins_otherwise_is_not_told_its_first_frame() -> None:
    subject = system(HistoryConfig("reversed"))
    with pytest.raises(ValueError, match=r"history\.source: got 'reversed'.*first frame"):
        subject.history_source.videos(replace(step_of(subject), images=torch.zeros(6, 1, 1)))


# all of them


@pytest.mark.parametrize("name", [VANILLA, INVERTED])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_sources_without_an_error_are_true_to_the_bit(
    name: str, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = HistoryConfig(noise=noise)
    expected = losses(plain, name)
    everything = replace(plain, source="recycled", recycled=RecycledConfig(clean=1.0))
    assert losses(everything, name) == expected
    assert losses(replace(plain, source="recycled"), name, 1) == expected[:1], "an empty bank"
    at_zero = replace(plain, source="resampled", resampled=ResampledConfig(mean=-200.0, std=0.0))
    assert losses(at_zero, name) == expected
    true = batch()["latents"]
    queue: list[Tensor] = []

    def sections(model: Any, recipe: Any, given: Any, *, sections: Sequence[Any], **further: Any) -> Any:
        queue.extend(true[:, :, list(section.targets)] for section in sections[:-1])
        return rolled(model, recipe, given, sections=sections, **further)

    rolled = source_module.rollout
    monkeypatch.setattr(source_module, "rollout", sections)
    monkeypatch.setattr(rollout_module, "solver_of", lambda config: lambda *given: queue.pop(0))
    assert losses(replace(plain, source="rollout"), name) == expected
    assert not queue


@pytest.mark.parametrize("name", [VANILLA, INVERTED])
def test_every_source_changes_the_loss_and_no_other_draw(name: str) -> None:
    expected = losses(HistoryConfig(), name, 4)
    resampled = HistoryConfig("resampled", resampled=ResampledConfig(mean=3.0))
    reversed_ = HistoryConfig("reversed", reversed=ReversedConfig(share=1.0))
    others = [HistoryConfig(source) for source in ("augmented", "recycled", "rollout")]
    found = [losses(history, name, 4) for history in (*others, resampled, reversed_)]
    assert len({values[-1] for values in (expected, *found)}) == 6
    assert found[1][0] == expected[0], "the bank was empty"
    for history in (*others, resampled):
        subject, plain = system(history, name), system(HistoryConfig(), name)
        noisy = [_noisy(each) for each in (subject, plain)]
        assert torch.equal(*noisy), "section, time and noise are the same"


def _noisy(subject: FramePackSystem) -> Tensor:
    seen: list[Tensor] = []
    forward = subject.model.forward
    subject.model.forward = lambda noisy, *rest: (seen.append(noisy), forward(noisy, *rest))[1]  # type: ignore[method-assign, func-returns-value]
    subject.section_loss(batch(), step_generator(0, 0, 3))
    return seen[0]


@pytest.mark.parametrize("source", ["resampled", "rollout", "reversed"])
@pytest.mark.parametrize("name", [VANILLA, INVERTED])
def test_forward_passes_are_those_that_are_counted(
    source: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"resampled": ResampledConfig(steps=2), "rollout": RolloutConfig(steps=3, every=2)}
    history = HistoryConfig(source, **sizes, reversed=ReversedConfig(steps=3, every=2))  # type: ignore[arg-type]
    subject = system(history, name)
    rows = []
    denoise = subject.model.denoise

    def counted(x: Tensor, *rest: Any) -> Tensor:
        rows.append(len(x))
        return denoise(x, *rest)

    monkeypatch.setattr(subject.model, "denoise", counted)
    count = 60 if source == "resampled" else 2
    for number in range(count):
        step = step_of(subject, VIDEOS, seed=number)
        subject._sample(step, subject.source)  # type: ignore[arg-type]
    beside = sampled_beside(history, SECTIONS)
    assert len(beside.shares) == SECTIONS
    expected = beside.steps * sum(beside.shares)
    # of a model that was called for every video; of sections that were drawn the mean is near
    assert sum(rows) / len(VIDEOS) / count == pytest.approx(
        expected, rel=0.15 if source == "resampled" else 1e-9
    )


def test_sources_that_call_no_model_cost_no_forward_pass() -> None:
    for source in ("true", "augmented", "recycled"):
        assert sum(sampled_beside(HistoryConfig(source), 5).shares) == 0


@pytest.mark.parametrize("source", ["recycled", "rollout", "reversed"])
def test_a_resumed_run_ends_in_the_same_bits(source: str, tmp_path: Path) -> None:
    history = HistoryConfig(
        source,
        recycled=RecycledConfig(bins=3, entries=2),
        rollout=RolloutConfig(every=4, videos=3),
        reversed=ReversedConfig(every=4, videos=3),
    )
    videos = LatentVideos(VIDEOS, ("moving",) * 6, tuple(range(6)))

    def fitted(steps: int, checkpoint: Path | None = None) -> FramePackSystem:
        subject = system(history)
        first = 3 if checkpoint else 0
        trainer = Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        loader = DataLoader(LatentBatches(videos, 4, seed=0, first_batch=first), batch_size=None)
        trainer.fit(subject, loader, ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return subject

    whole, half = fitted(6), fitted(3)
    resumed = fitted(6, tmp_path / "3.ckpt")
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    kept = [torch.cat([x.flatten() for x in _tensors(each)]) for each in (whole, resumed, half)]
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


def _tensors(subject: FramePackSystem) -> list[Tensor]:
    state = subject.history_source.state_dict()
    found: list[Tensor] = state["errors"] if "errors" in state else state["latents"]
    return found


def test_a_source_of_a_plugin_is_a_class_or_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(HistorySource):
        def videos(self, step: TrainingStep) -> Videos:
            return Videos(step.latents + 1, step.latents)

    monkeypatch.setitem(HISTORY_SOURCES._known, "shifted", Shifted)
    monkeypatch.setitem(HISTORY_SOURCES._known, "same", lambda latents, generator: latents)
    subject = system(HistoryConfig("shifted"))
    assert torch.equal(subject.history_source.videos(step_of(subject)).history, VIDEOS + 1)
    assert losses(HistoryConfig("same")) == losses(HistoryConfig())


def test_a_source_that_follows_a_plan_needs_one() -> None:
    model = system(HistoryConfig()).model
    for source in ("resampled", "rollout", "reversed"):
        objective = ObjectiveConfig(history=HistoryConfig(source))
        with pytest.raises(ValueError, match=rf"history\.source: got '{source}'.*MixedSections"):
            FramePackSystem(model, MixedSections(), objective, OptimizerConfig(), steps=1, seed=0)
    assert isinstance(make_source(HistoryConfig("reversed")), ReversedHistory)
