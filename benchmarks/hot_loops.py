"""What bounds the hot loops, side by side in one run: python benchmarks/hot_loops.py --threads 2.

Training is held against the matmul peak of the same threads, scoring against decoding of the same frames,
sampling with a section that is prepared once against one that is prepared at every step.
"""

import argparse
import time
from collections.abc import Callable
from statistics import fmean, median

import torch
from torch import Tensor

from fp_data.carried_clips import CLIPS
from fp_data.clips import probe, read_video
from fp_data.get_clips import get_clips
from fp_data.worlds import WorldConfig, iterate
from fp_lab.lab.planning.flops import plan_flops
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections, arrange, assemble
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.recipe.orders import plan
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from fp_metrics import score_video

RECIPE = parse("td_f8k8f4k4f2k2f1k1_g9")
BATCH, FRAMES, SIDE = 16, 64, 16
CAPTION = "a red plain ball starting slowly left over a wavy grey background"


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time after one call to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)


def peak() -> float:
    """Best float32 matmul rate, FLOP/s."""
    a, b = torch.randn(4096, 512), torch.randn(512, 512)
    return 2 * 4096 * 512 * 512 / seconds(lambda: a @ b, 20)


def training_step(*, compiled: bool) -> Callable[[], None]:
    """One optimiser step of an arm on the shipped base."""
    model = FramePackModel.load("shipped").with_kernels(kernels_of(RECIPE))
    if compiled:
        model.compile_blocks()
    source = PlannedSections(RECIPE)
    system = FramePackSystem(model, source, ObjectiveConfig(), OptimizerConfig(), steps=100, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    batch = {
        "latents": torch.randn(BATCH, model.backbone.channels, FRAMES, SIDE, SIDE),
        "captions": [CAPTION] * BATCH,
    }

    def step() -> None:
        optimizer.zero_grad()
        system.section_loss(batch, step_generator(0, 0, 3)).backward()  # type: ignore[arg-type]
        optimizer.step()

    return step


def sampling(steps: int = 8) -> tuple[Callable[[], None], Callable[[], None]]:
    """Denoising of one late section, prepared once with its context, and at every step."""
    model = FramePackModel.load("shipped").with_kernels(kernels_of(RECIPE)).eval()
    section = plan(RECIPE, FRAMES)[-1]
    latents = torch.randn(BATCH, model.backbone.channels, FRAMES, SIDE, SIDE)
    sample = assemble(latents, [arrange(RECIPE, section, FRAMES)])
    text = model.backbone.encode_text([CAPTION] * BATCH)
    noisy, levels = sample.target, torch.full((BATCH,), 0.5)
    assert noisy is not None

    def once() -> None:
        with torch.no_grad():
            section = model.prepare(sample.times, (SIDE, SIDE), text, model.pack(sample.context))
            for _ in range(steps):
                model.denoise(noisy, levels, section)

    def again() -> None:
        with torch.no_grad():
            for _ in range(steps):
                model(noisy, sample.times, levels, text, model.pack(sample.context))

    return once, again


def scoring() -> tuple[float, float, int]:
    """Seconds to decode, and to decode and score, some frames of a real clip, and how many frames."""
    (path,) = get_clips(clips=[clip for clip in CLIPS if clip.name == "bikes.mp4"])
    video, count = probe(path), 48

    def frames() -> list[Tensor]:
        return [torch.from_numpy(frame).movedim(-1, 0)[None] / 255 for frame in read_video(video, 0, count)]

    decode = seconds(lambda: list(read_video(video, 0, count)), 3)
    return decode, seconds(lambda: score_video(frames(), families=("plain",), length=count), 3), count


def main() -> None:
    """Print one line per loop."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2, help="threads of torch")
    torch.set_num_threads(arguments.parse_args().threads)
    torch.manual_seed(0)

    top = peak()
    eager = training_step(compiled=False)
    backbone = FramePackModel.load("shipped").backbone.config
    flops = (
        3 * BATCH * fmean(plan_flops(RECIPE, backbone, FRAMES, SIDE, SIDE))
    )  # a backward pass costs two forward ones
    eager_time = seconds(eager)
    compiled_time = seconds(training_step(compiled=True))
    print(f"matmul peak, float32           {top / 1e9:8.1f} GFLOP/s")
    for name, taken in (("eager", eager_time), ("compiled", compiled_time)):
        share = flops / taken / top
        print(f"training step, {name:<9}       {1000 * taken:8.1f} ms   {share:5.2f} of the matmul peak")
    once, again = (seconds(work) for work in sampling())
    print(
        f"section of 8 steps             {1000 * once:8.1f} ms   {once / again:5.2f} of preparing each step"
    )
    render = seconds(lambda: list(iterate(WorldConfig(frames=100), range(16))), 3) / 16
    print(f"rendering 100 frames of 64x64  {1000 * render:8.1f} ms   {1000 * render:5.1f} s for 1,000 videos")
    decode, score, count = scoring()
    ratio = f"{score / decode:5.1f} times decoding alone"
    print(f"scoring a 640x272 frame        {1000 * score / count:8.1f} ms   {ratio}")


if __name__ == "__main__":
    main()
