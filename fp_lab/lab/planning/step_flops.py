"""Floating-point operations of a training step over a real model, as PyTorch counts them."""

from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fp_lab.backbones.diffusers.lora import LoraConfig, add_lora
from fp_lab.backbones.diffusers.presets import RealModel
from fp_lab.lab.planning.packed_model import DEPTHS, Packed, Tokens, of_depth

Counts = npt.NDArray[np.object_]
"""Counts of remembering, forward and backward pass, as whole numbers of any size."""
SMALL = 10_000_000
"""Number of parameters up to which steps are run for real, which is quicker than on fake tensors."""
_SHALLOW = 2
_FEW = 8


@dataclass(frozen=True)
class Way:
    """Way of training of a transformer, as far as its operations depend on it.

    Attributes:
        lora: settings of LoRA adapters; None where all weights are trained.
        checkpointing: whether each block is recomputed in the backward pass.
        isolated: whether keys and values of the context are computed separately.
    """

    lora: LoraConfig | None = None
    checkpointing: bool = False
    isolated: bool = False


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of one sample in matrix products, without the packer's.

    Attributes:
        remembering: operations of the context's keys and values, once per section; 0 unless separate.
        forward: operations of a forward pass of the section.
        backward: operations of the backward pass, with recomputed blocks.
    """

    remembering: int
    forward: int
    backward: int

    @property
    def step(self) -> int:
        """Operations of a training step on the sample."""
        return self.remembering + self.forward + self.backward


def operations(model: RealModel, tokens: Tokens, way: Way) -> Operations:
    """Count the operations of a training step: seconds for a model, no time for further token numbers.

    Operations are a polynomial of second degree in the tokens of section and context, so steps of a few
    tokens determine it. Blocks of a kind cost the same, so models with one or two of each determine deeper
    ones.

    Args:
        model: model with its settings and its text and image tokens.
        tokens: tokens of the sample.
        way: way of training.
    """
    along = Fraction(tokens.noisy, _FEW) - 1
    first, second, third = (_of_few(model, way, n, bool(tokens.context)) for n in (1, 2, 3))
    bend = third - 2 * second + first
    found = first + along * (second - first) + _pairs(along) * bend
    if tokens.context:
        across = Fraction(tokens.context, _FEW) - 1
        more = _of_few(model, way, 1, 2)
        twist = other = bend  # keys and queries are of the sum of both
        if way.isolated:
            twist = _of_few(model, way, 2, 2) - second - more + first
            other = _of_few(model, way, 1, 3) - 2 * more + first
        found = found + across * (more - first) + along * across * twist + _pairs(across) * other
    return Operations(*map(int, found))


def _pairs(number: Fraction) -> Fraction:
    return number * (number - 1) / 2


@lru_cache(maxsize=256)
def _of_few(model: RealModel, way: Way, noisy: int, context: int) -> Counts:
    """Operations at multiples of `_FEW` tokens."""
    tokens = Tokens(noisy * _FEW, context * _FEW)
    depths = {name: model.settings[name] for name in DEPTHS if name in model.settings}
    if max(depths.values()) <= _SHALLOW:
        return _counted(model, tokens, way)
    least = {name: min(1, depth) for name, depth in depths.items()}
    total = one = _counted(of_depth(model, least), tokens, way)
    for name, depth in depths.items():
        if depth > 1:
            total = total + (depth - 1) * (_counted(of_depth(model, {**least, name: 2}), tokens, way) - one)
    return total


def _counted(model: RealModel, tokens: Tokens, way: Way) -> Counts:
    """Operations of a model without weights."""
    with torch.device("meta"):
        module = Packed(model)
        if way.lora is not None:  # under fake tensors peft could not
            add_lora(module.backbone.transformer, way.lora)
    module.eval()  # nothing random
    if way.checkpointing:
        module.backbone.transformer.enable_gradient_checkpointing()
    small = sum(parameter.numel() for parameter in module.parameters()) < SMALL
    fake = nullcontext() if small else FakeTensorMode(allow_non_fake_inputs=True)
    counter = FlopCounterMode(display=False)  # attention in parts: it knows no fused one of the CPU
    with fake, sdpa_kernel(SDPBackend.MATH), counter:
        module.to_empty(device="cpu")
        context = module.context(tokens)
        memory = module.remember(context) if way.isolated and context is not None else context
        remembering = counter.get_total_flops()
        output = module.denoise(tokens, memory)
        forward = counter.get_total_flops()
        output.mean().backward()
        backward = counter.get_total_flops() - forward
    return np.array([remembering, forward - remembering, backward], dtype=object)
