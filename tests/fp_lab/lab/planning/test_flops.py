"""Operations of arms, against what PyTorch counts in steps that are done."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fixtures import TINY, tiny_config
from fp_lab.backbones.diffusers.lora import LoraConfig
from fp_lab.backbones.diffusers.presets import MODELS
from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.codecs.video import load_codec
from fp_lab.flow.solvers import SolverConfig
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.planning import flops
from fp_lab.lab.planning import step_flops as counting
from fp_lab.lab.planning.arm_flops import model_of_arm, sampling_flops
from fp_lab.lab.planning.flops import (
    at_equal_compute,
    shape_of,
    step_flops,
    training_shapes,
    training_tflop,
    with_true_history,
)
from fp_lab.lab.planning.latent_shape import LatentShape
from fp_lab.lab.planning.packed_model import Tokens, of_depth
from fp_lab.lab.planning.step_flops import Way, operations
from fp_lab.lab.tiny_pipelines import TinyFamily, build_tiny
from fp_lab.lab.tiny_pipelines.parts import WIDTH
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import Arrangement, arrange_videos
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe.orders import Section, plan
from fp_lab.sampling.rollout import rollout
from fp_lab.shapes import TextCondition
from fp_lab.training.history import TrainingStep
from small_models import small

FAMILIES: tuple[TinyFamily, ...] = ("hunyuan_video", "framepack", "wan", "wan_i2v")
LATENTS = 7
IMAGE = {"framepack": 4, "wan_i2v": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("compute")
    for family in FAMILIES:
        build_tiny(family, place / family)
    (place / "tiny.yaml").write_text(TINY.format(folder=place), encoding="utf-8")
    return place


def config_of(folder: Path, family: str, *overrides: str) -> ExperimentConfig:
    common = ["objective.flow.output=velocity", "data.world.frames=25", f"evaluation.frames={LATENTS}"]
    sources = [f"model.base={folder / family}", f"codec.source={folder / family}", "model.lora.rank=3"]
    return load(folder / "tiny.yaml", [*common, *sources, *overrides])


class Planned:
    """One section of a plan, for every video."""

    def __init__(self, config: ExperimentConfig, section: Section) -> None:
        self.recipe, self.section = config.parsed_recipe, section

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        return arrange_videos(self.recipe, [self.section] * len(latents), latents, config)


def as_told(model: FramePackModel, family: str) -> FramePackModel:
    """The model with captions of as many words as there are at most."""

    def texts(captions: Any) -> TextCondition:
        items = len(captions)
        if family.startswith("wan"):
            return WanCondition(torch.zeros(items, 512, WIDTH))
        return HunyuanCondition(torch.zeros(items, 256, WIDTH), pooled=torch.zeros(items, WIDTH))

    model.backbone.texts = texts
    return model


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def really_counted(config: ExperimentConfig, family: str, sections: list[Section]) -> float:
    """Mean operations per sample of really done steps on each of some sections."""
    model = as_told(build_model(config, load_codec(config.codec.source).channels), family)
    system = build_system(config, model)
    batch: Any = {"latents": torch.randn(2, 16, LATENTS, 4, 4), "captions": ["", ""]}
    if family in IMAGE:
        batch["images"] = torch.zeros(2, IMAGE[family], WIDTH)
    totals = []
    for section in sections:
        system.source = Planned(config, section)
        with counted() as counter:
            system.section_loss(batch, Generator().manual_seed(0)).backward()
        totals.append(counter.get_total_flops() / 2)
    return fmean(totals)


WHOLE = ("model.lora=null",)
AGAIN = ("model.checkpointing=true", "recipe=f1k1_x_g3_f1k1f2k2_tc", "context.missing=zero")
ISOLATED = ("context.attention=isolated", "context.timestep=zero", "context.projection=shared")


@pytest.mark.parametrize(
    ("family", "overrides"),
    [
        ("hunyuan_video", ()),
        ("framepack", AGAIN),
        ("framepack", ISOLATED),
        ("wan", ()),
        ("wan", WHOLE),
        ("wan", ISOLATED),
        ("wan", ("recipe=g3",)),
        ("wan_i2v", AGAIN),
    ],
)
def test_operations_are_those_of_steps_that_are_done(
    family: TinyFamily, overrides: tuple[str, ...], folder: Path
) -> None:
    config = config_of(folder, family, *overrides)
    sections = list(plan(config.parsed_recipe, LATENTS))
    assert len(sections) == 2
    done = really_counted(config, family, sections)
    assert step_flops(config) == pytest.approx(done, rel=2e-4)  # the average of a tail is a product too
    each = step_flops(config) * config.training.batch * config.training.steps
    assert training_tflop(config) == pytest.approx(each / 1e12)


@pytest.mark.parametrize(("family", "overrides"), [("framepack", ()), ("wan", ()), ("wan", ISOLATED)])
def test_operations_of_a_resampled_history_are_those_that_are_done(
    family: TinyFamily, overrides: tuple[str, ...], folder: Path
) -> None:
    config = config_of(folder, family, "objective.history.source=resampled", *overrides)
    model = as_told(build_model(config, load_codec(config.codec.source).channels), family)
    system = build_system(config, model)
    latents = torch.randn(2, 16, LATENTS, 4, 4)
    images = torch.zeros(2, IMAGE[family], WIDTH) if family in IMAGE else None
    step = TrainingStep(model, latents, ["", ""], images, system.source, config.objective, Generator())
    _, second = plan(config.parsed_recipe, LATENTS)
    drawn = arrange_videos(config.parsed_recipe, [second] * 2, latents, config.context)
    with counted() as counter:
        system.history_source.resample(step, drawn)
    # of two sections one is right before another, which is drawn every second time
    extra = step_flops(config) - step_flops(with_true_history(config))
    assert extra == pytest.approx(counter.get_total_flops() / 2 / 2, rel=2e-4)


@pytest.mark.parametrize(("source", "share"), [("rollout", 3 / 4), ("reversed", 4 / 4), ("recycled", 0)])
def test_equal_compute_counts_what_a_source_of_histories_samples(source: str, share: float) -> None:
    like = "td_f4k1_g4"  # with zeros for what is missing: each section costs the same
    settings = [f"objective.history.{name}={{every: 2, steps: 3}}" for name in ("rollout", "reversed")]
    common = [
        f"recipe={like}",
        "context.missing=zero",
        "data.world.frames=17",
        f"training.compute_of={like}",
        "training.steps=600",
    ]
    config = load("base", [*common, *settings, f"objective.history.source={source}"])
    # 4 sections in 3 steps each, every second step; a forward pass is a third of a step
    cost = 1 + share * 4 * 3 / 2 / 3
    assert step_flops(config) == pytest.approx(cost * step_flops(with_true_history(config)))
    assert at_equal_compute(config).training.steps == round(600 / cost)


@pytest.mark.parametrize(("family", "isolated"), [("framepack", False), ("wan", True)])
def test_operations_of_videos_are_those_of_a_rollout(
    family: TinyFamily, isolated: bool, folder: Path
) -> None:
    options = ("context.attention=isolated", "context.timestep=zero") if isolated else ()
    config = config_of(folder, family, *options)
    model = as_told(build_model(config, load_codec(config.codec.source).channels), family).eval()
    sampling = replace(config.sampling, solver=SolverConfig("euler", 4))
    with counted() as counter:
        for _ in rollout(
            model,
            config.parsed_recipe,
            torch.zeros(1, 16, 1, 4, 4),
            frames=LATENTS,
            captions=[""],
            seeds=[0],
            sampling=sampling,
            images=torch.zeros(1, IMAGE[family], WIDTH) if family in IMAGE else None,
        ):
            pass
    expected = sampling_flops(config, shape_of(config, LATENTS), calls=4)
    # what steps share is computed once per section, and counted with each
    assert counter.get_total_flops() <= expected
    assert expected == pytest.approx(counter.get_total_flops(), rel=0.6 if family == "wan" else 0.1)


@pytest.mark.parametrize(
    ("name", "tokens", "isolated"),
    [
        ("base", Tokens(37, 21), False),
        ("wan-14b-i2v", Tokens(37, 21), True),
        ("wan-1.3b", Tokens(9), False),
    ],
)
def test_few_tokens_and_few_blocks_tell_of_many(name: str, tokens: Tokens, isolated: bool) -> None:
    deep = (
        {"num_layers": 3, "num_single_layers": 4} if name == "base" else {"num_layers": 1 if isolated else 4}
    )
    way, model = Way(LoraConfig(rank=2), True, isolated), of_depth(small(name), deep)
    found = operations(model, tokens, way)
    directly = tuple(counting._counted(model, tokens, way))
    assert (found.remembering, found.forward, found.backward) == directly
    assert found.step == sum(directly)


def test_fake_tensors_cost_what_real_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens, way = of_depth(small("base"), {"num_layers": 1}), Tokens(5, 3), Way(LoraConfig(rank=2))
    real = counting._counted(model, tokens, way)
    monkeypatch.setattr(counting, "SMALL", 0)
    assert tuple(counting._counted(model, tokens, way)) == tuple(real)


def test_a_config_on_disk_is_the_preset_that_wrote_it(folder: Path, tmp_path: Path) -> None:
    model = MODELS["wan-14b-i2v"]
    (tmp_path / "transformer").mkdir()
    stored = {"_class_name": "WanTransformer3DModel", **model.settings}
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(stored))
    found = model_of_arm(config_of(folder, "wan", f"model.base={tmp_path}"))
    assert {name: found.settings[name] for name in model.settings} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in model.settings.items()
    }
    assert (found.family, found.words, found.image) == ("wan", 512, 257)


def test_the_shape_is_that_of_the_arms_codec(folder: Path) -> None:
    wan = config_of(folder, "wan", "data.world.size=64")
    assert list(training_shapes(wan)) == [LatentShape(7, 8, 8)]
    assert list(training_shapes(replace(wan, codec=load("base").codec))) == [LatentShape(25, 16, 16)]
    assert step_flops(wan, LatentShape(7, 4, 4)) == step_flops(config_of(folder, "wan"))


def test_equal_compute_over_a_transformer(folder: Path) -> None:
    like = "td_f8k8f4k4f2k2f1k1_g6"
    config = config_of(folder, "wan", f"training.compute_of={like}", "training.steps=100")
    ratio = step_flops(replace(config, recipe=like)) / step_flops(config)
    equal = at_equal_compute(config)
    assert ratio > 1.05
    assert equal.training.steps == round(100 * ratio)
    assert equal.training.compute_of is None


def test_what_is_not_on_this_machine_is_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(folder, "wan", "model.base=nobody/nothing", "training.compute_of=g3")
    assert math.isnan(training_tflop(config))
    with pytest.raises(ValueError, match=r"compute_of: got g3, expected training\.steps"):
        at_equal_compute(config)
    cached = replace(config, data=replace(config.data, cache="somewhere"))
    with pytest.raises(ValueError, match=r"\bsomewhere: .*manifest\.json"):
        training_shapes(cached)
    assert math.isnan(training_tflop(cached))


def test_a_cache_counts_by_its_sizes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(folder, "wan")
    small, large = LatentShape(7, 4, 4), LatentShape(7, 4, 8)
    held = SimpleNamespace(shapes={(7, 4, 4): 3, (7, 4, 8): 1})
    monkeypatch.setattr(flops.Manifest, "load", lambda folder: held)
    cached = replace(config, data=replace(config.data, cache="somewhere"))
    expected = (3 * step_flops(config, small) + step_flops(config, large)) / 4
    assert step_flops(cached) == pytest.approx(expected)


@pytest.mark.parametrize("widths", [(4, 8), (4, 4, 8), (4, 4, 8, 8)])
def test_latents_have_the_size_that_the_codec_makes(widths: tuple[int, ...], tmp_path: Path) -> None:
    layers = (0, *[1] * (len(widths) - 1))
    codec = Codec(CodecConfig(4, widths, layers, layers))
    codec.save(tmp_path / "of")
    config = tiny_config(tmp_path, [f"codec.source={tmp_path / 'of'}"])
    made = codec.encode(torch.zeros(1, 3, 2, config.data.size, config.data.size))
    assert shape_of(config, 2) == LatentShape(*made.shape[2:])
