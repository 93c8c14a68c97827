"""A packed step from a long and from a short history, side by side: python benchmarks/packing.py --threads 1.

One step is everything that depends on the history: choosing the frames, gathering and pooling them,
projections, phases, forward and backward. Target: from 1,024 latent frames at most 1.05 times what it costs
from 64, in time and in peak memory of tensors (less the history, which the caller holds), for td and tc.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange, assemble
from fp_lab.packing.packer import kernels_of
from fp_lab.packing.token_counts import with_history
from fp_lab.recipe import parse

SHORT, LONG = 64, 1024
CHANNELS, SIDE = 8, 16


def step_of(
    name: str, history: int, width: int, batch: int
) -> tuple[Callable[[], Tensor], FramePackModel, Tensor]:
    """One forward and backward pass of a section behind so many frames; its model and latents."""
    torch.manual_seed(0)
    recipe = parse(name)
    config = TinyDiTConfig(channels=CHANNELS, width=width, depth=5, head_width=32)
    model = FramePackModel(TinyDiT(config), kernels_of(recipe), "clean")
    placed = with_history(recipe, history)
    latents = torch.randn(batch, CHANNELS, placed.length, SIDE, SIDE)
    levels = torch.full((batch,), 0.5)

    def step() -> Tensor:
        model.zero_grad()
        text = model.backbone.encode_text(["a red ball starting fast left"] * batch)
        sample = assemble(latents, [arrange(recipe, placed.section, placed.length) for _ in range(batch)])
        prediction = model(sample.target, sample.times, levels, text, model.pack(sample.context))
        loss = prediction.square().mean()
        loss.backward()
        return loss.detach()

    return step, model, latents


def seconds_of(steps: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median wall time of each, called in turns."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(repeats + 1):
        for step, taken in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            if turn:
                taken.append(time.perf_counter() - start)
    return [median(taken) for taken in times]


def peak_mib(step: Callable[[], Tensor], model: FramePackModel, latents: Tensor) -> float:
    """Most bytes of tensors alive during a step, less the history."""
    tracker = MemTracker()
    tracker.track_external(model, latents)
    with tracker:
        step()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    return (peak - latents.untyped_storage().nbytes()) / 2**20


def main() -> None:
    """Print time and memory of both histories for every tail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--width", type=int, default=128, help="of the transformer")
    parser.add_argument("--batch", type=int, default=4, help="videos")
    parser.add_argument("--repeats", type=int, default=15, help="of each measurement")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = f"width {arguments.width}, batch {arguments.batch}, {SIDE}x{SIDE} latents"
    print(f"{size}, {arguments.threads} threads")
    for tail in ("td", "tc", "ta"):
        name = f"{tail}_f16k4f2k2f1k1_g9"
        made = [step_of(name, frames, arguments.width, arguments.batch) for frames in (SHORT, LONG)]
        short, long = seconds_of([step for step, _, _ in made], arguments.repeats)
        memory = [peak_mib(*one) for one in made]
        print(
            f"{name}: {1000 * short:7.1f} ms from {SHORT}, {1000 * long:7.1f} ms from {LONG} frames, ratio "
            f"{long / short:.3f}; {memory[0]:.1f} and {memory[1]:.1f} MiB, ratio {memory[1] / memory[0]:.3f}"
        )


if __name__ == "__main__":
    main()
