"""Generation with less memory on the device; the CPU stands for the device, so only the logic is tested."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.hooks import apply_group_offloading, group_offloading
from torch import Tensor, nn

import tiny_hunyuan
import tiny_wan
from fp_lab.backbones.diffusers.lora import LoraConfig, add_lora
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.backbones.wan.model import Wan
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.lab.sampling.offload import in_turns, place_model
from fp_lab.model import FramePackModel
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import BASE, parse
from fp_lab.recipe.orders import Section
from fp_lab.sampling.rollout import RolledSection, rollout
from fp_lab.sampling.settings import SamplingConfig
from tiny_conditions import normal, told

RECIPE = parse("td_f2k2f1k1_g3")
CPU, META = torch.device("cpu"), torch.device("meta")
ISOLATED = ContextConfig(attention="isolated", timestep="zero")


def model_of(family: str, *, adapters: bool = False, context: ContextConfig | None = None) -> FramePackModel:
    tiny: Any = tiny_wan if family == "wan" else tiny_hunyuan
    kind: Any = Wan if family == "wan" else HunyuanVideo
    transformer = copy.deepcopy(tiny.diffusers_model())
    torch.manual_seed(0)
    model = FramePackModel(kind(transformer), kernels_of(RECIPE), "velocity", context)
    model.backbone.texts = partial(told, family=family)
    if adapters:
        add_lora(transformer, LoraConfig(rank=2))
        for name, parameter in transformer.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.3)
    return model.eval()


@torch.no_grad()
def video(model: FramePackModel, family: str) -> Tensor:
    """Two sections, at two noise levels each."""
    rolled = rollout(
        model,
        RECIPE,
        normal(1, 4, 1, 4, 4),
        frames=7,
        captions=["a ball"],
        seeds=[3],
        sampling=SamplingConfig(SolverConfig("euler", 2)),
        images=normal(1, 3, 16, seed=4) if family == "framepack" else None,
    )
    return torch.cat([section.latents for section in rolled], 2)


def in_blocks(model: FramePackModel) -> list[nn.Parameter]:
    return [parameter for block in model.backbone.blocks for parameter in block.parameters()]


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that nobody has written yet is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("context", [None, ISOLATED], ids=["joint", "isolated"])
@pytest.mark.parametrize("adapters", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("family", ["framepack", "wan"])
def test_blocks_that_come_from_disk_make_the_same_video(
    family: str,
    adapters: bool,
    context: ContextConfig | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Away from the device all of their weights are NaN, so nothing reads them when it should not."""
    expected = video(model_of(family, adapters=adapters, context=context), family)
    to_disk = partial(apply_group_offloading, offload_to_disk_path=str(tmp_path))
    monkeypatch.setattr("diffusers.hooks.apply_group_offloading", to_disk)
    model = model_of(family, adapters=adapters, context=context)
    names = list(model.state_dict())
    place_model(model, CPU, "blocks")
    place_model(model, CPU, "blocks")
    for _ in range(2):
        assert all(parameter.isnan().all() for parameter in in_blocks(model))
        torch.testing.assert_close(video(model, family), expected, rtol=0, atol=1e-5)
    assert list(model.state_dict()) == names


class Stream:
    """Stands for a GPU's."""

    def synchronize(self) -> None:
        pass


class Backend:
    """Stands for ``torch.cuda``."""

    def __init__(self, device: torch.device) -> None:
        pass

    @staticmethod
    def current_stream() -> Stream:
        return Stream()

    @staticmethod
    @contextmanager
    def stream(stream: Stream) -> Iterator[None]:
        yield


@pytest.mark.parametrize("context", [None, ISOLATED], ids=["joint", "isolated"])
@pytest.mark.parametrize("family", ["framepack", "wan"])
def test_the_next_block_is_fetched_while_one_is_at_work(
    family: str, context: ContextConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As diffusers does it with streams, which here do nothing."""

    def with_streams(module: nn.Module, use_stream: bool, offload_type: str, **options: Any) -> None:
        group_offloading._apply_group_offloading(
            module,
            group_offloading.GroupOffloadingConfig(
                offload_device=CPU,
                offload_type=group_offloading.GroupOffloadingType(offload_type),
                non_blocking=False,
                record_stream=False,
                low_cpu_mem_usage=False,
                stream=Stream(),
                **options,
            ),
        )

    monkeypatch.setattr("diffusers.hooks.apply_group_offloading", with_streams)
    monkeypatch.setattr(group_offloading, "TorchDeviceBackend", Backend)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    model, log, there = model_of(family, context=context), list[tuple[str, int]](), set[int]()
    expected, blocks = video(model_of(family, context=context), family), model.backbone.blocks
    fetch, put_away = group_offloading.ModuleGroup.onload_, group_offloading.ModuleGroup.offload_

    def fetched(group: group_offloading.ModuleGroup) -> None:
        here = {index for index, block in enumerate(blocks) if block in group.modules}
        log.extend(("fetch", index) for index in here - there)
        there.update(here)
        fetch(group)

    def gone(group: group_offloading.ModuleGroup) -> None:
        there.difference_update(index for index, block in enumerate(blocks) if block in group.modules)
        put_away(group)

    def note(index: int) -> Callable[..., None]:
        return lambda *_: log.append(("work", index))

    monkeypatch.setattr(group_offloading.ModuleGroup, "onload_", fetched)
    monkeypatch.setattr(group_offloading.ModuleGroup, "offload_", gone)
    for index, block in enumerate(blocks):
        next(part for part in block.modules() if isinstance(part, nn.Linear)).register_forward_pre_hook(
            note(index)
        )
    place_model(model, CPU, "blocks")
    assert torch.equal(video(model, family), expected)
    seen, later = [("fetch", 0), ("work", 0), ("fetch", 1), ("work", 1)], [0, 2, 1, 3]
    if context is None:
        assert log == [*seen, *(3 * [seen[place] for place in later])]


def test_the_device_gets_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_offloading, "TorchDeviceBackend", Backend)  # nothing computes
    for offload, away in (("none", 0), ("parts", 1)):
        model = model_of("wan")
        place_model(model, META, offload)  # type: ignore[arg-type]
        assert {parameter.is_meta for parameter in model.parameters()} == {not away}
    model = model_of("framepack")
    place_model(model, META, "blocks")
    inside = {id(parameter) for parameter in in_blocks(model)}
    for parameter in chain(model.parameters(), model.buffers()):
        assert parameter.is_meta == (id(parameter) not in inside)
    monkeypatch.setattr(model, "to", lambda where: pytest.fail("all blocks would come at once"))
    assert list(in_turns(iter([]), model, codec(), CPU)) == []


def test_blocks_of_the_labs_own_model_stay_where_they_are() -> None:
    own = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=1, head_width=16))
    with pytest.raises(ValueError, match=r"offload: got 'blocks' .*\bfp_lab's own, expected none"):
        place_model(FramePackModel(own, [BASE], "clean"), CPU, "blocks")


def codec() -> Codec:
    return Codec(CodecConfig(4, (4, 4, 8, 8), (0, 1, 1, 1), (0, 1, 1, 1)))


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def turning(log: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[RolledSection]], Any]:
    """`in_turns` over a model and a codec that note where they are sent."""
    model, decoder = model_of("wan"), codec()
    monkeypatch.setattr(model, "to", lambda where: log.append(f"model to {where}"))
    monkeypatch.setattr(decoder, "to", lambda where: log.append(f"codec to {where}"))
    return lambda rolled: in_turns(rolled, model, decoder, META)


def made(log: list[str], fails: bool = False) -> Iterator[RolledSection]:
    for index in range(2):
        log.append(f"make {index}")
        yield RolledSection(index, Section((1,), frozenset({0})), torch.zeros(1, 4, 1, 4, 4))
    if fails:
        raise RuntimeError("out of memory")


IN, OUT = ["codec to cpu", "model to meta"], ["model to cpu", "codec to meta"]


def test_model_and_codec_take_turns(log: list[str], turning: Callable[..., Any]) -> None:
    for section in turning(made(log)):
        log.append(f"decode {section.index}")
    first, second = ([*IN, f"make {index}", *OUT, f"decode {index}"] for index in range(2))
    assert log == [*first, *second, *IN, *OUT]


@pytest.mark.parametrize("fails", [False, True])
def test_whatever_ends_the_turns_the_model_is_away(
    log: list[str], turning: Callable[..., Any], fails: bool
) -> None:
    turns = turning(made(log, fails))
    next(turns)
    if fails:
        next(turns)
        with pytest.raises(RuntimeError, match="out of memory"):
            next(turns)
    else:
        turns.close()
    assert log[-2:] == OUT
    assert sorted(log).count("model to cpu") == sorted(log).count("model to meta")
