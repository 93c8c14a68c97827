import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.utils.data import DataLoader

from fp_data.latents import LatentBatches, LatentVideos
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.history_noise import HistoryConfig, HistoryLevel, draw_corruption
from fp_lab.flow.matching import FlowConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.context import ContextConfig, ImportanceConfig, Missing, Timestep
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import Recipe, parse
from fp_lab.shapes import ContextLevel
from fp_lab.training import framepack_system as system_module
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig, learning_rate_share

RECIPE = parse("td_f4k2f1k1_g4")
FRAMES = 17


def videos() -> LatentVideos:
    """Videos that stand still: the first frame tells everything."""
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(6, 4, 1, 4, 4, generator=generator).expand(-1, -1, FRAMES, -1, -1)
    return LatentVideos(still.contiguous(), ("still",) * 6, tuple(range(6)))


def system(
    steps: int = 6,
    objective: ObjectiveConfig | None = None,
    seed: int = 0,
    context: ContextConfig | None = None,
    codebook: Codebook | None = None,
    recipe: Recipe = RECIPE,
) -> FramePackSystem:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=2, head_width=16))
    objective = objective or ObjectiveConfig()
    model = FramePackModel(backbone, kernels_of(recipe), objective.flow.output, context, codebook)
    optimizer = OptimizerConfig(learning_rate=5e-3, warmup=2)
    return FramePackSystem(model, PlannedSections(recipe), objective, optimizer, steps=steps, seed=seed)


def trainer_of(callback: Callback, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
        **options,
    )


def fit(subject: FramePackSystem, folder: Path, steps: int, checkpoint: Path | None = None) -> None:
    checkpoints = ModelCheckpoint(
        folder, save_last=True, every_n_train_steps=1, save_top_k=0, enable_version_counter=False
    )
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EMAWeightAveraging(decay=0.9), checkpoints],
        gradient_clip_val=1.0,
    )
    first = 0 if checkpoint is None else steps // 2
    loader = DataLoader(LatentBatches(videos(), 4, seed=0, first_batch=first), batch_size=None)
    trainer.fit(subject, loader, ckpt_path=checkpoint, weights_only=True)


def test_training_learns_to_copy_the_history(tmp_path: Path) -> None:
    subject = system(steps=80)
    batch = LatentBatches(videos(), 6, seed=0).batch(0)

    def loss() -> float:
        with torch.no_grad():
            return float(subject.section_loss(batch, torch.Generator().manual_seed(7)))  # type: ignore[arg-type]

    before = loss()
    fit(subject, tmp_path, 80)
    assert loss() < 0.5 * before


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, half, resumed = system(), system(), system()
    fit(whole, tmp_path / "whole", 6)
    fit(half, tmp_path / "half", 3)
    fit(resumed, tmp_path / "half", 6, tmp_path / "half" / "last.ckpt")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert not torch.equal(whole.model.backbone.embed.weight, half.model.backbone.embed.weight)


class Draws(Callback):
    """Seeds that the randomness of batches is from; a checkpoint after so many batches."""

    def __init__(self, subject: FramePackSystem, checkpoint: Path | None = None, after: int = 0) -> None:
        self.seeds: list[int] = []
        self.checkpoint, self.after = checkpoint, after
        loss = subject.section_loss
        subject.section_loss = lambda batch, generator: (  # type: ignore[method-assign]
            self.seeds.append(generator.initial_seed()),  # type: ignore[func-returns-value]
            loss(batch, generator),
        )[1]

    def on_train_batch_end(self, trainer: Trainer, *further: object) -> None:
        if self.checkpoint is not None and len(self.seeds) == self.after:
            trainer.save_checkpoint(self.checkpoint)


def test_batches_whose_gradients_accumulate_differ_in_their_draws(tmp_path: Path) -> None:
    expected = [step_generator(0, 0, number).initial_seed() for number in range(6)]
    data = LatentBatches(moving(), 4, seed=0)
    for accumulated, after in ((1, 3), (2, 3), (3, 3)):
        path, options = tmp_path / f"{accumulated}.ckpt", {"accumulate_grad_batches": accumulated}
        whole = Draws(subject := system(), path, after)
        loader = DataLoader(data, batch_size=None)
        trainer_of(whole, max_steps=6 // accumulated, **options).fit(subject, loader)
        assert whole.seeds == expected, f"{accumulated} to a step"
        resumed = Draws(subject := system())
        trainer = trainer_of(resumed, max_steps=6 // accumulated, **options)
        trainer.fit(subject, loader, ckpt_path=path, weights_only=True)
        assert resumed.seeds == expected[after:], "also where a step is half done"


class AsLightning(FramePackSystem):
    """Clips as lightning does."""

    configure_gradient_clipping = LightningModule.configure_gradient_clipping


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_as_lightning_clips_them(algorithm: str) -> None:
    weights = []
    for kind in (FramePackSystem, AsLightning):
        subject = system()
        subject.__class__ = kind
        trainer = trainer_of(
            Callback(), max_steps=3, gradient_clip_val=0.01, gradient_clip_algorithm=algorithm
        )
        trainer.fit(subject, DataLoader(LatentBatches(moving(), 4, seed=0), batch_size=None))
        weights.append(torch.cat([parameter.flatten() for parameter in subject.parameters()]))
    assert torch.equal(*weights)


def test_scaled_gradients_are_unscaled_before_they_are_clipped_and_measured() -> None:
    norms, scaler = [], torch.amp.GradScaler("cpu", init_scale=4096.0)
    for plugins in ([], [MixedPrecision("16-mixed", "cpu", scaler)]):
        subject = system()
        trainer = trainer_of(Callback(), max_steps=2, gradient_clip_val=0.1, plugins=plugins)
        trainer.fit(subject, DataLoader(LatentBatches(moving(), 4, seed=0), batch_size=None))
        clipped = torch.cat([p.grad.flatten() for p in subject.parameters() if p.grad is not None])
        assert clipped.norm().item() == pytest.approx(0.1, rel=1e-3)
        norms.append(subject.gradient_norm.item())
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


class Steps(Callback):
    """Loss, norm and one weight of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.weights: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, subject: LightningModule, outputs: Any, *further: object
    ) -> None:
        assert isinstance(subject, FramePackSystem)
        self.losses.append(float(outputs["loss"]))
        self.norms.append(float(subject.gradient_norm))
        self.weights.append(subject.model.backbone.embed.weight.detach().clone())


def train_in(precision: MixedPrecision | None) -> Steps:
    """Six steps with clipped gradients."""
    steps = Steps()
    plugins = [] if precision is None else [precision]
    trainer = trainer_of(steps, max_steps=6, gradient_clip_val=0.1, plugins=plugins)
    trainer.fit(system(), DataLoader(LatentBatches(moving(), 4, seed=0), batch_size=None))
    return steps


def test_16_mixed_trains_as_float32_does() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)  # as on a GPU, where Lightning makes it
    half, single = train_in(MixedPrecision("16-mixed", "cpu", scaler)), train_in(None)
    assert half.losses != single.losses
    assert half.losses == pytest.approx(single.losses, rel=0.01)
    assert half.norms == pytest.approx(single.norms, rel=0.05)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")  # of the skipped step
def test_16_mixed_skips_a_step_that_overflows_and_goes_on() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-24)
    before = system().model.backbone.embed.weight
    steps = train_in(MixedPrecision("16-mixed", "cpu", scaler))
    assert scaler.get_scale() == 2.0**16
    assert torch.equal(steps.weights[0], before)
    assert not math.isfinite(steps.norms[0])
    assert all(map(math.isfinite, [*steps.losses, *steps.norms[1:]]))
    assert not torch.equal(steps.weights[1], before)
    assert all(torch.isfinite(weight).all() for weight in steps.weights)


def test_a_step_depends_on_seed_rank_and_number() -> None:
    draws = {
        torch.rand((), generator=step_generator(*key)).item()
        for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    }
    assert len(draws) == 4
    batch = LatentBatches(videos(), 4, seed=0).batch(0)
    losses = [system().section_loss(batch, step_generator(0, 0, 5)).item() for _ in range(2)]  # type: ignore[arg-type]
    assert losses[0] == losses[1]


def test_history_noise_reaches_the_context_and_nothing_else() -> None:
    batch = LatentBatches(videos(), 4, seed=0).batch(0)
    noisy = system(objective=ObjectiveConfig(history=HistoryConfig(noise=1.0, clean=0.0)))
    seen = []
    noisy.model.packer.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    noisy.section_loss(batch, step_generator(0, 0, 0))  # type: ignore[arg-type]
    clean = system()
    clean.model.packer.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    clean.section_loss(batch, step_generator(0, 0, 0))  # type: ignore[arg-type]
    corrupted, untouched = (levels[-1].latents for levels in seen)
    assert (corrupted - untouched).abs().mean() > 0.1


def watched(
    subject: FramePackSystem, step: int = 0
) -> tuple[tuple[ContextLevel, ...], Tensor | None, Tensor]:
    """Context and its noise levels as the packer gets them, and the loss."""
    seen: list[tuple[Any, ...]] = []
    subject.model.packer.register_forward_hook(lambda module, args, output: seen.append(args))
    batch = LatentBatches(moving(), 4, seed=0).batch(0)
    loss = subject.section_loss(batch, step_generator(0, 0, step))  # type: ignore[arg-type]
    context, levels = seen[0]
    return context, levels, loss


def moving() -> LatentVideos:
    latents = torch.randn(6, 4, FRAMES, 4, 4, generator=torch.Generator().manual_seed(5))
    return LatentVideos(latents, ("moving",) * 6, tuple(range(6)))


def told(history: HistoryConfig) -> FramePackSystem:
    return system(objective=ObjectiveConfig(history=history), context=ContextConfig(timestep="level"))


def test_a_told_history_is_at_the_level_that_the_model_is_told() -> None:
    clean, levels, _ = watched(told(HistoryConfig()))
    assert levels is not None
    assert (levels == 0).all()
    noisy, levels, _ = watched(told(HistoryConfig(level="random")))
    assert levels is not None
    assert (levels > 0).all()
    assert len(levels.unique()) == 4
    moved = (noisy[-1].latents - clean[-1].latents).flatten(1).std(1)
    assert torch.corrcoef(torch.stack((moved, levels)))[0, 1] > 0.9
    _, levels, _ = watched(told(HistoryConfig(level="fixed", sigma=0.1)))
    assert levels is not None
    assert levels.max() <= 0.1


def test_a_share_of_histories_is_dropped() -> None:
    _, levels, _ = watched(told(HistoryConfig(dropout=1.0)))
    assert levels is not None
    assert (levels == 1).all(), "pure noise"
    gone, levels, loss = watched(system(objective=ObjectiveConfig(history=HistoryConfig(dropout=1.0))))
    assert levels is None
    assert not any(level.known.any() for level in gone)
    assert loss.isfinite()
    half = ObjectiveConfig(history=HistoryConfig(dropout=0.5))
    shares = [watched(system(objective=half), step)[0][-1].known.any(1) for step in range(20)]
    assert torch.cat(shares).float().mean().item() == pytest.approx(0.5, abs=0.2)


def nearest(pixels: Tensor, centroids: Tensor) -> Tensor:
    """Distance of each pixel ``n c`` from its centroid; by differences: products leave 1e-3 of rounding."""
    return torch.cdist(pixels, centroids, compute_mode="donot_use_mm_for_euclid_dist").min(1).values


def test_a_discrete_history_is_discrete_in_training_and_what_is_learned_is_not() -> None:
    codebook = Codebook(3, 4)
    codebook.centroids.copy_(torch.randn(3, 4))
    subject = system(codebook=codebook)
    targets: list[Tensor] = []
    forward = subject.model.forward
    subject.model.forward = lambda noisy, *args: (targets.append(noisy), forward(noisy, *args))[1]  # type: ignore[method-assign, func-returns-value]
    context, _, _ = watched(subject)
    for level in context:
        pixels = level.latents.movedim(1, -1)[level.known].flatten(0, -2)
        assert (nearest(pixels, codebook.centroids) < 1e-5).all()
    noisy = targets[0].movedim(1, -1).flatten(0, -2)
    assert nearest(noisy, codebook.centroids).mean() > 0.1
    same_noise: list[Tensor] = []
    plain = system()
    forward_plain = plain.model.forward
    plain.model.forward = lambda noisy, *args: (same_noise.append(noisy), forward_plain(noisy, *args))[1]  # type: ignore[method-assign, func-returns-value]
    watched(plain)
    assert torch.equal(targets[0], same_noise[0]), "targets and their noise do not know of the codebook"


@pytest.mark.parametrize(
    ("recipe", "context", "whole"),
    [
        ("td_f4k2f1k1_g4", ContextConfig(), False),
        ("td_f4k2f1k1_g4", ContextConfig(missing="zero"), False),
        ("ta_f4k2f1k1_g4", ContextConfig(), True),
        ("tc_f4k2f1k1_g4", ContextConfig(), True),
        ("td_f4k2f1k1_g4", ContextConfig(timestep="level"), True),
        ("td_f4k2f1k1_g4", ContextConfig(importance=ImportanceConfig("similarity")), True),
    ],
)
def test_whole_videos_are_discretised_only_where_their_pixels_are_used_before_packing(
    monkeypatch: pytest.MonkeyPatch, recipe: str, context: ContextConfig, whole: bool
) -> None:
    codebook = Codebook(16, 4)
    codebook.centroids.copy_(torch.randn(16, 4, generator=torch.Generator().manual_seed(3)))
    told = context.timestep == "level"
    history = HistoryConfig(noise=0.5, dropout=0.25, level="random" if told else "clean")
    objective = ObjectiveConfig(history=history)
    batch = LatentBatches(moving(), 4, seed=0).batch(0)

    def losses() -> list[float]:
        subject = system(objective=objective, context=context, codebook=codebook, recipe=parse(recipe))
        return [subject.section_loss(batch, step_generator(0, 0, step)).item() for step in range(4)]  # type: ignore[arg-type]

    frames: list[int] = []
    seen = codebook.register_forward_pre_hook(lambda module, args: frames.append(args[0].shape[2]))
    found = losses()
    seen.remove()
    assert (FRAMES in frames) == whole
    whole_videos = lambda *args: lambda latents: codebook(draw_corruption(*args)(latents))  # noqa: E731
    monkeypatch.setattr(system_module, "draw_corruption", whole_videos)
    assert found == losses(), "as if all of it were discretised first"


@pytest.mark.parametrize("timestep", ["same", "level"])
@pytest.mark.parametrize("missing", ["drop", "zero", "mask"])
def test_no_treatment_of_a_discrete_history_leaves_its_codebook(timestep: Timestep, missing: Missing) -> None:
    level: HistoryLevel = "random" if timestep == "level" else "clean"
    history = HistoryConfig(noise=1.0, saturation=0.5, clean=0.25, dropout=0.5, level=level)
    codebook = Codebook(16, 4)
    codebook.centroids.copy_(torch.randn(16, 4, generator=torch.Generator().manual_seed(3)))
    context = ContextConfig(timestep=timestep, missing=missing)
    subject = system(objective=ObjectiveConfig(history=history), context=context, codebook=codebook)
    levels = [level for step in range(4) for level in watched(subject, step)[0]]
    pixels = torch.cat([level.latents.movedim(1, -1).flatten(0, -2) for level in levels])
    assert 4 < len(pixels.unique(dim=0)) <= 16


def test_a_level_that_the_model_is_not_told_is_refused() -> None:
    with pytest.raises(ValueError, match=r"history\.level: got 'random' with context\.timestep 'same'"):
        system(objective=ObjectiveConfig(history=HistoryConfig(level="random")))


def test_captions_are_dropped_in_their_share() -> None:
    subject, seen = system(objective=ObjectiveConfig(caption_dropout=0.25)), []
    subject.model.backbone.text.register_forward_pre_hook(lambda module, args: seen.extend(args[0]))
    batch = LatentBatches(videos(), 4, seed=0).batch(0)
    for step in range(50):
        subject.section_loss(batch, step_generator(0, 0, step))  # type: ignore[arg-type]
    assert set(seen) == {"", "still"}
    assert seen.count("") / len(seen) == pytest.approx(0.25, abs=0.08)


def test_parameters_that_are_vectors_do_not_decay() -> None:
    configured = system().configure_optimizers()
    groups = configured["optimizer"].param_groups  # type: ignore[index, call-overload, union-attr]
    *matrices, vectors = groups
    assert {p.ndim for p in vectors["params"]} == {1}
    assert all(group["weight_decay"] > 0 for group in matrices)
    assert vectors["weight_decay"] == 0


def test_the_learning_rate_warms_up_and_decays() -> None:
    config = OptimizerConfig(warmup=2)
    rates = [learning_rate_share(step, 100, config) for step in (0, 1, 2, 51, 100, 200)]
    assert rates[0] == 0.5
    assert rates[1] == rates[2] == 1
    assert 0.3 < rates[3] < 0.7
    assert rates[4] == rates[5] == pytest.approx(0.05)


def test_a_constant_phase_does_not_depend_on_the_number_of_steps() -> None:
    config = OptimizerConfig(warmup=2, decay=0.25)
    assert {learning_rate_share(step, steps, config) for step in range(2, 75) for steps in (100, 300)} == {
        1.0
    }
    assert 0.05 < learning_rate_share(90, 100, config) < 1
    assert learning_rate_share(100, 100, config) == pytest.approx(0.05)


def test_bf16_autocast_gives_a_finite_loss() -> None:
    batch = LatentBatches(videos(), 4, seed=0).batch(0)
    subject = system()
    with torch.autocast("cpu", torch.bfloat16):
        loss = subject.section_loss(batch, step_generator(0, 0, 0))  # type: ignore[arg-type]
    full = subject.section_loss(batch, step_generator(0, 0, 0))  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(full.item(), rel=0.05)


def test_the_output_of_model_and_objective_must_agree() -> None:
    model = system().model
    with pytest.raises(ValueError, match=r"'clean', .*flow\.output .*'velocity'"):
        FramePackSystem(
            model,
            PlannedSections(RECIPE),
            ObjectiveConfig(FlowConfig(output="velocity")),
            OptimizerConfig(),
            steps=1,
            seed=0,
        )
