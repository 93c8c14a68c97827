"""Whole videos against diffusers' FramePack pipeline: same weights, noise, schedule and embeddings."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
)
from torch import Tensor

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.flow.matching import FlowConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.seeds import seeded_noise
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.training.framepack_system import FramePackSystem, LatentBatch, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from tiny_hunyuan import TINY, randomise

SECTION, STEPS, SEED, SIZE = 9, 3, 5, (8, 12)
INVERTED, FORWARD = "f1k1_x_g9_f1k1f2k2f16k4_td", "f1k1_x_f16k4f2k2f1k1_g9"
RELEASED = {
    INVERTED: ContextConfig(padding="released", missing="zero"),
    FORWARD: ContextConfig(positions="relative", missing="zero", start_in_history=True),
}
SAMPLING_TYPES = {INVERTED: "inverted_anti_drifting", FORWARD: "vanilla"}


@pytest.fixture(scope="module")
def transformer() -> HunyuanVideoFramepackTransformer3DModel:
    model = HunyuanVideoFramepackTransformer3DModel(**TINY).eval()
    randomise(model)
    return model


@pytest.fixture(scope="module")
def embedded() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "prompt": normal(1, 6, 16),
        "pooled": normal(1, 8),
        "negative": normal(1, 4, 16),
        "negative_pooled": normal(1, 8),
        "image": normal(1, 3, 16),
        "first": normal(1, 4, 1, *SIZE),
    }


@torch.no_grad()
def by_diffusers(
    transformer: Any,
    embedded: dict[str, Tensor],
    recipe: str,
    sections: int,
    scale: float,
    distilled: float = 6.0,
) -> Tensor:
    """Latents of the whole video."""
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, max_image_seq_len=4096, shift=1.0
    )
    pipeline = HunyuanVideoFramepackPipeline(None, None, transformer, vae, scheduler, None, None, None, None)
    pipeline.set_progress_bar_config(disable=True)
    count = iter(range(sections))
    shape = (4, SECTION, *SIZE)
    pipeline.prepare_latents = lambda *_, **__: seeded_noise([SEED], next(count), shape)
    pipeline.prepare_image_latents = lambda *_, **__: embedded["first"]
    pipeline.encode_image = lambda *_, **__: embedded["image"]
    ones = torch.ones(1, 6)
    made = pipeline(
        image=torch.zeros(1, 3, 8 * SIZE[0], 8 * SIZE[1]),
        height=8 * SIZE[0],
        width=8 * SIZE[1],
        num_frames=sections * (4 * (SECTION - 1) + 1),
        latent_window_size=SECTION,
        num_inference_steps=STEPS,
        true_cfg_scale=scale,
        guidance_scale=distilled,
        prompt_embeds=embedded["prompt"],
        pooled_prompt_embeds=embedded["pooled"],
        prompt_attention_mask=ones,
        negative_prompt_embeds=embedded["negative"],
        negative_pooled_prompt_embeds=embedded["negative_pooled"],
        negative_prompt_attention_mask=ones[:, :4],
        output_type="latent",
        sampling_type=SAMPLING_TYPES[recipe],
    )
    whole: Tensor = made.frames[-1]
    return whole


def sampled(
    model: FramePackModel,
    embedded: dict[str, Tensor],
    recipe: str,
    sections: int,
    scale: float,
    distilled: float = 6.0,
) -> Tensor:
    """The same by us."""

    def texts(captions: Any) -> HunyuanCondition:
        (caption,) = captions
        return HunyuanCondition(
            embedded["negative" if caption == "bad" else "prompt"],
            pooled=embedded["negative_pooled" if caption == "bad" else "pooled"],
        )

    model.backbone.texts = texts
    frames = 1 + SECTION * sections
    latents = embedded["first"].repeat(1, 1, frames, 1, 1)
    sampling = SamplingConfig(SolverConfig("euler", STEPS), scale, distilled, negative_prompt="bad")
    rolled = rollout(
        model,
        parse(recipe),
        embedded["first"],
        frames=frames,
        captions=["good"],
        seeds=[SEED],
        sampling=sampling,
        images=embedded["image"],
    )
    for section in rolled:
        latents[:, :, list(section.section.targets)] = section.latents
    return latents


def model_of(folder: Path, recipe: str) -> FramePackModel:
    return FramePackModel.from_transformer(folder, kernels_of(parse(recipe)), RELEASED[recipe]).eval()


@pytest.fixture
def folder(transformer: HunyuanVideoFramepackTransformer3DModel, tmp_path: Path) -> Path:
    transformer.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("scale", "distilled"), [(1.0, 10.0), (2.5, 6.0)])
@pytest.mark.parametrize("sections", [1, 3, 6])
@pytest.mark.parametrize("recipe", RELEASED)
def test_a_video_equals_that_of_the_pipeline(
    transformer: Any,
    embedded: dict[str, Tensor],
    folder: Path,
    recipe: str,
    sections: int,
    scale: float,
    distilled: float,
) -> None:
    theirs = by_diffusers(transformer, embedded, recipe, sections, scale, distilled)
    ours = sampled(model_of(folder, recipe), embedded, recipe, sections, scale, distilled)
    assert theirs.shape == ours.shape
    assert theirs.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def training_of(
    model: FramePackModel, recipe: str, embedded: dict[str, Tensor]
) -> tuple[FramePackSystem, LatentBatch]:
    system = FramePackSystem(
        model,
        PlannedSections(parse(recipe)),
        ObjectiveConfig(FlowConfig(output="velocity")),
        OptimizerConfig(learning_rate=1e-2, warmup=1),
        steps=2,
        seed=0,
    )
    batch = LatentBatch(
        latents=embedded["first"] + torch.randn(1, 4, 19, *SIZE, generator=torch.Generator().manual_seed(0)),
        captions=["good"],
        images=embedded["image"],
    )
    return system, batch


def test_a_model_is_told_the_guidance_of_the_target_in_training_and_its_own_in_sampling(
    embedded: dict[str, Tensor], folder: Path
) -> None:
    model, told = model_of(folder, FORWARD), []
    embed = model.backbone.transformer.time_text_embed
    embed.guidance_embedder.register_forward_pre_hook(lambda _, inputs: told.append(inputs[0]))
    sampled(model, embedded, FORWARD, 1, 1.0)
    sampled(model, embedded, FORWARD, 1, 1.0, distilled=10.0)
    system, batch = training_of(model, FORWARD, embedded)
    system.section_loss(batch, step_generator(0, 0, 0))
    # the flow of the data itself is guidance of 1, of which the embedding is told a thousandfold
    expected = embed.time_proj(torch.tensor([6000.0, 10_000.0, 1000.0]))
    assert torch.equal(torch.cat(told), expected)


@pytest.mark.parametrize("recipe", RELEASED)
def test_the_pipeline_makes_the_same_video_with_what_the_lab_has_trained(
    embedded: dict[str, Tensor], folder: Path, tmp_path: Path, recipe: str
) -> None:
    model = model_of(folder, recipe)
    untrained = sampled(model, embedded, recipe, 2, 1.0)
    system, batch = training_of(model, recipe, embedded)
    optimizer: Any = system.configure_optimizers()
    for step in range(2):
        system.section_loss(batch, step_generator(0, 0, step)).backward()
        optimizer["optimizer"].step()
    model.save(tmp_path / "trained")
    ours = sampled(FramePackModel.load(tmp_path / "trained").eval(), embedded, recipe, 2, 1.0)
    loaded, info = HunyuanVideoFramepackTransformer3DModel.from_pretrained(
        tmp_path / "trained" / "transformer", output_loading_info=True
    )
    assert not any(info.values()), info
    theirs = by_diffusers(loaded, embedded, recipe, 2, 1.0)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert (ours - untrained).abs().max() > 0.1, "two steps must show"
