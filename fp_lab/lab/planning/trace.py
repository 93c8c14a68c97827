"""Cost of one forward pass of a real model, from fake tensors: no memory, no arithmetic, seconds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from fp_lab.backbones.diffusers.lora import LoraConfig, targeted
from fp_lab.backbones.diffusers.presets import RealModel
from fp_lab.lab.planning.activations import Activations, watched
from fp_lab.lab.planning.packed_model import DEPTHS, Packed, Tokens, of_depth
from fp_lab.recipe import parse

_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True)
class Trace:
    """Cost of one forward pass of one sample; bytes are those of bfloat16.

    Attributes:
        parameters: number of parameters of the transformer and the recipe's packer.
        blocks: number of parameters of all blocks.
        largest_block: number of parameters of the largest block.
        packer: number of parameters of the packer, which is trained whole beside adapters.
        low_rank: number of parameters that adapters of rank 1 add, on the layers of
            `fp_lab.backbones.diffusers.lora.LoraConfig`.
        matmul_flops: floating-point operations of linear layers and convolutions.
        attention_flops: floating-point operations of attention, 4 n m D per layer for n queries and m keys.
        activations: bytes kept for the backward pass, without checkpointing.
        checkpointed: most bytes alive in a step with every block checkpointed, beside weights and gradients.
        inference: most bytes of tensors alive beside the weights, without gradients.
    """

    parameters: int
    blocks: int
    largest_block: int
    packer: int
    low_rank: int
    matmul_flops: int
    attention_flops: int
    activations: int
    checkpointed: int
    inference: int

    @property
    def flops(self) -> int:
        """Operations of the forward pass; a backward pass costs twice as much."""
        return self.matmul_flops + self.attention_flops


def trace(model: RealModel, tokens: Tokens) -> Trace:
    """Trace a model in bfloat16 on fake tensors; recipes with one packer share a trace.

    Args:
        model: model of `fp_lab.backbones.diffusers.presets`.
        tokens: tokens of the sample.
    """
    any_section = replace(parse(model.recipe), section=1)  # the tokens tell its length
    return _traced(replace(model, recipe=str(any_section)), tokens)


@lru_cache(maxsize=32)
def _traced(model: RealModel, tokens: Tokens) -> Trace:
    with _bfloat16(), FakeTensorMode():
        module = Packed(model)
        counter = FlopCounterMode(display=False, custom_mapping={_ATTENTION: attention_flops})
        with watched(module, module.blocks) as kept, counter:
            module(tokens)
        peaks = _peaks(model, tokens)
    return _trace(module, counter, kept, peaks)


def attention_flops(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: Any, **__: Any) -> int:
    """4 n m D, the products with keys and values; PyTorch's own table lacks the CPU's fused attention.

    Args:
        q: shape of queries ``b heads n c``, with D = heads * c.
        k: shape of keys ``b heads m c``.
        v: shape of values ``b heads m c``.
    """
    batch, heads, queries, channels = q
    return 2 * batch * heads * queries * k[2] * (channels + v[3])


@dataclass(frozen=True)
class _Peaks:
    """Peak bytes per sample that no hook sees, from models with one or two blocks of each kind.

    Attributes:
        inference: most bytes alive beside the weights without gradients. Further blocks each add the same,
            such as Wan's keys and values of the caption.
        working: bytes alive beside those of `watched` in the backward pass of a checkpointed block.
    """

    inference: int
    working: int


def _peaks(model: RealModel, tokens: Tokens) -> _Peaks:
    depths = [value for name, value in model.settings.items() if name in DEPTHS]
    one, two = (_inference(Packed(_shallow(model, depth)), tokens) for depth in (1, 2))
    module = Packed(_shallow(model, 1))
    with watched(module, module.blocks) as kept:
        module(tokens)
    for block in module.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    with _tracked(module) as tracker:
        module(tokens).float().mean().backward()
    more = (two - one) * (sum(depths) - len(depths)) // len(depths)
    return _Peaks(one + more, max(0, _alive(tracker) - kept.checkpointed))


def _shallow(model: RealModel, depth: int) -> RealModel:
    """Return the model with `depth` blocks of each kind."""
    return of_depth(model, {name: depth for name in DEPTHS if name in model.settings})


def _inference(module: Packed, tokens: Tokens) -> int:
    with torch.no_grad(), _tracked(module) as tracker:
        module(tokens)
    return _alive(tracker)


@contextmanager
def _tracked(module: nn.Module) -> Iterator[MemTracker]:
    tracker = MemTracker()
    tracker.track_external(module)
    with tracker:
        yield tracker


def _alive(tracker: MemTracker) -> int:
    """Most bytes of tensors alive at once, without parameters, their gradients and buffers."""
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return int(peak["Total"] - peak["Parameter"] - peak["Buffer"] - peak["Gradient"])


def _trace(module: Packed, counter: FlopCounterMode, kept: Activations, peaks: _Peaks) -> Trace:
    counts = counter.get_flop_counts()["Global"]
    attention = counts.get(_ATTENTION, 0)
    transformer = module.backbone.transformer
    layers = [transformer.get_submodule(name) for name in targeted(transformer, LoraConfig())]
    sizes = [_count(block) for block in module.blocks]
    return Trace(
        parameters=_count(module),
        blocks=sum(sizes),
        largest_block=max(sizes),
        packer=_count(module.packer),
        low_rank=sum(layer.in_features + layer.out_features for layer in layers),
        matmul_flops=sum(counts.values()) - attention,
        attention_flops=attention,
        activations=kept.total,
        checkpointed=kept.checkpointed + peaks.working,
        inference=peaks.inference,
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def _bfloat16() -> Iterator[None]:
    """Set bfloat16 as default data type, as fake parameters cannot be converted."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
