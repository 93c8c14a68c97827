"""Denoising with an isolated context, cached and not: python benchmarks/isolated_context.py --threads 2.

The same section of one frame, steps and weights: keys and values of the context computed once, at every step,
and the context attended to in full at every step (a model that is not isolated). Target: at most 0.5 times
the cost without caching at width 512.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.matching import schedule, shift_of_tokens, to_velocity
from fp_lab.flow.solvers import euler
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange, assemble
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.packing.token_counts import with_history
from fp_lab.recipe import parse
from fp_lab.shapes import ContextMemory, PackedContext

NAME, CHANNELS, SIDE = "td_f16k4f2k2f1k1_g1", 8, 32
ISOLATED = ContextConfig(timestep="zero", attention="isolated")


def samplers(width: int, batch: int, steps: int) -> dict[str, Callable[[], Tensor]]:
    """Ways to denoise one section."""
    torch.manual_seed(0)
    recipe = parse(NAME)
    config = TinyDiTConfig(channels=CHANNELS, width=width, depth=6, head_width=64)
    model = FramePackModel(TinyDiT(config), kernels_of(recipe), "velocity", ISOLATED).eval()
    torch.nn.init.normal_(model.backbone.final.weight, std=0.02)
    placed = with_history(recipe, 40)
    latents = torch.randn(batch, CHANNELS, placed.length, SIDE, SIDE)
    sample = assemble(latents, [arrange(recipe, placed.section, placed.length)])
    text = model.backbone.encode_text(["a red ball starting fast left"] * batch)
    noise = torch.randn(sample.target.shape)
    sigmas = schedule(steps, shift_of_tokens((SIDE // 2) ** 2))

    def denoise(context: Callable[[], PackedContext | ContextMemory | None]) -> Tensor:
        def velocity(x: Tensor, sigma: float) -> Tensor:
            levels = torch.full((batch,), sigma)
            section = model.prepare(sample.times, (SIDE, SIDE), text, context())
            return to_velocity(model.denoise(x, levels, section), x, levels, "velocity")

        return euler(velocity, noise, sigmas)

    @torch.no_grad()
    def cached() -> Tensor:
        memory = model.memory_of(model.pack(sample.context), text)
        return denoise(lambda: memory)

    @torch.no_grad()
    def recomputed() -> Tensor:
        packed = model.pack(sample.context)
        return denoise(lambda: model.memory_of(packed, text))

    @torch.no_grad()
    def full() -> Tensor:
        packed = model.pack(sample.context)
        return denoise(lambda: packed)

    return {"cached": cached, "recomputed": recomputed, "full attention": full}


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--width", type=int, default=512, help="of the transformer")
    parser.add_argument("--batch", type=int, default=1, help="videos")
    parser.add_argument("--steps", type=int, default=25, help="of denoising")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    made = samplers(arguments.width, arguments.batch, arguments.steps)
    difference = (made["cached"]() - made["recomputed"]()).abs().max().item()
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(arguments.repeats):
        for name, sample in made.items():
            start = time.perf_counter()
            sample()
            times[name].append(time.perf_counter() - start)
    typical = {name: median(taken) for name, taken in times.items()}
    size = f"{NAME}, width {arguments.width}, batch {arguments.batch}, {SIDE}x{SIDE} latents"
    print(f"{size}, {arguments.steps} steps, {arguments.threads} threads")
    for name, seconds in typical.items():
        print(f"{name:15} {1000 * seconds:8.1f} ms   cached over it {typical['cached'] / seconds:.3f}")
    print(f"largest difference of cached and recomputed latents {difference:.1e}")


if __name__ == "__main__":
    main()
