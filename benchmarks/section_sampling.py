"""One section of FramePack, ours against diffusers: python benchmarks/section_sampling.py --threads 2.

Both sides denoise the same noise with the same random weights, history, embeddings and steps, in turn. Theirs
is the denoising loop of `HunyuanVideoFramepackPipeline`, its encoders and its VAE left out; ours packs the
history, prepares the section and solves. Printed are the best times of each side (what else runs on a machine
only adds to them), their ratio, and how far the latents are apart.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.flow.matching import schedule, shift_of_tokens
from fp_lab.flow.solvers import euler
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextLevel

# The released forward layout: the start frame, 16 + 2 + 1 frames of history, nine to be made.
LEVELS = ((Kernel(4, 8, 8), range(1, 17)), (Kernel(2, 4, 4), range(17, 19)), (BASE, (0, 19)))
SECTION = range(20, 29)
CHANNELS, EMBEDDED, IMAGE_TOKENS, LONGEST = 4, 16, 4, 32


@dataclass(frozen=True)
class Size:
    """A transformer, its latents and its steps."""

    heads: int
    axes: tuple[int, int, int]
    layers: int
    latents: int
    steps: int

    @property
    def width(self) -> int:
        """Of a token."""
        return self.heads * sum(self.axes)

    def transformer(self) -> HunyuanVideoFramepackTransformer3DModel:
        """Random weights."""
        torch.manual_seed(0)
        return HunyuanVideoFramepackTransformer3DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_attention_heads=self.heads,
            attention_head_dim=sum(self.axes),
            num_layers=self.layers,
            num_single_layers=self.layers,
            num_refiner_layers=self.layers,
            text_embed_dim=EMBEDDED,
            pooled_projection_dim=EMBEDDED,
            rope_axes_dim=self.axes,
            has_image_proj=True,
            image_proj_dim=EMBEDDED,
            has_clean_x_embedder=True,
        ).eval()


SIZES = {
    "tiny": Size(heads=2, axes=(2, 4, 4), layers=1, latents=8, steps=25),
    "compute": Size(heads=8, axes=(16, 24, 24), layers=2, latents=8, steps=8),
}


@dataclass(frozen=True)
class Inputs:
    """What both sides start from; the history has one entry per level."""

    noise: Tensor
    history: list[Tensor]
    text: HunyuanCondition


def draw(size: Size, batch: int) -> Inputs:
    """Captions have 12 to 28 words, padded to 32."""
    generator = torch.Generator().manual_seed(1)

    def frames(count: int) -> Tensor:
        return torch.randn(batch, CHANNELS, count, size.latents, size.latents, generator=generator)

    words = 28 - 5 * torch.arange(batch)[:, None] % 17
    text = HunyuanCondition(
        torch.randn(batch, LONGEST, EMBEDDED, generator=generator),
        torch.arange(LONGEST) < words,
        pooled=torch.randn(batch, EMBEDDED, generator=generator),
        image=torch.randn(batch, IMAGE_TOKENS, EMBEDDED, generator=generator),
        guidance=torch.full((batch,), 6000.0),
    )
    return Inputs(frames(len(SECTION)), [frames(len(times)) for _, times in LEVELS], text)


def ours(backbone: HunyuanVideo, packer: ContextPacker, size: Size, inputs: Inputs) -> Tensor:
    """Pack, prepare, solve."""
    batch, view = len(inputs.noise), (size.latents, size.latents)
    levels = []
    for (kernel, indices), latents in zip(LEVELS, inputs.history, strict=True):
        times = torch.tensor([list(indices)] * batch)
        known = torch.ones_like(times).bool()
        levels.append(ContextLevel(kernel, latents, times, known, None, view))
    times = torch.tensor([list(SECTION)] * batch)
    section = backbone.prepare(times, view, inputs.text, packer(tuple(levels)))

    def velocity(x: Tensor, sigma: float) -> Tensor:
        return backbone.denoise(x, torch.full((batch,), 1000 * sigma), section)

    tokens = len(SECTION) * (size.latents // 2) ** 2
    return euler(velocity, inputs.noise, schedule(size.steps, shift_of_tokens(tokens)))


def theirs(transformer: Any, size: Size, inputs: Inputs) -> Tensor:
    """The loop of diffusers' pipeline (step 7 of its call, without true guidance)."""
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    latents, text = inputs.noise, inputs.text
    assert text.mask is not None
    mask = text.mask.to(latents.dtype)
    history_4x, history_2x, clean = inputs.history
    indices_4x, indices_2x, indices_clean = (torch.tensor(list(times)) for _, times in LEVELS)
    tokens = latents.shape[2] * latents.shape[3] * latents.shape[4] // transformer.config.patch_size**2
    scheduler.set_timesteps(
        sigmas=np.linspace(1.0, 0.0, size.steps + 1)[:-1], mu=float(np.log(shift_of_tokens(tokens)))
    )
    for t in scheduler.timesteps:
        prediction = transformer(
            hidden_states=latents,
            timestep=t.expand(latents.shape[0]),
            encoder_hidden_states=text.tokens,
            encoder_attention_mask=mask,
            pooled_projections=text.pooled,
            image_embeds=text.image,
            indices_latents=torch.tensor(list(SECTION)),
            guidance=text.guidance,
            latents_clean=clean,
            indices_latents_clean=indices_clean,
            latents_history_2x=history_2x,
            indices_latents_history_2x=indices_2x,
            latents_history_4x=history_4x,
            indices_latents_history_4x=indices_4x,
            return_dict=False,
        )[0]
        latents = scheduler.step(prediction.float(), t, latents, return_dict=False)[0]
    return latents


def in_turn(works: Sequence[Callable[[], Tensor]], repeats: int) -> list[tuple[float, ...]]:
    """Wall times of all, who change places after every repeat."""
    times = []
    for repeat in range(repeats):
        taken = [0.0] * len(works)
        for index in range(len(works))[:: 1 if repeat % 2 else -1]:
            start = time.perf_counter()
            works[index]()
            taken[index] = time.perf_counter() - start
        times.append(tuple(taken))
    return times


def compare(name: str, batch: int, repeats: int) -> str:
    """One line of results."""
    size = SIZES[name]
    transformer, inputs = size.transformer(), draw(size, batch)
    backbone = HunyuanVideo(copy.deepcopy(transformer))
    packer = ContextPacker([kernel for kernel, _ in LEVELS], CHANNELS, size.width, backbone.rope)
    backbone.load_projections(packer)
    sides = (partial(ours, backbone, packer, size, inputs), partial(theirs, transformer, size, inputs))
    apart = (sides[0]() - sides[1]()).abs().max()
    times = in_turn(sides, repeats)
    mine, other = (1000 * min(side) for side in zip(*times, strict=True))
    return (
        f"width {size.width:<4} batch {batch} {size.steps:>3} steps   ours {mine:8.1f} ms   diffusers "
        f"{other:8.1f} ms   ratio {mine / other:4.2f}   latents apart by {apart:.1e}"
    )


@torch.no_grad()
def main() -> None:
    """Print one line per size and batch."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2, help="threads of torch")
    arguments.add_argument("--repeats", type=int, default=9, help="runs of each side")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {options.repeats} runs of each side in turn")
    for name in SIZES:
        for batch in (1, 8):
            print(compare(name, batch, options.repeats), flush=True)


if __name__ == "__main__":
    main()
