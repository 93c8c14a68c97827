"""What the lab adds to a training, and what workers save: python benchmarks/lab.py.

Overhead: steps of an arm as `fp-lab grid` takes them (lightning, averaged weights, telemetry, tracking) over
those of a bare PyTorch loop with the same model, data, draws, clipping, optimiser and average, in turn in one
process; the first steps of each are left out. Target: at most 1.05.

Workers: one small grid of equal arms, by one worker with one thread, by two such workers, and in one process
with two threads; each is started and has loaded its data before the clock runs. Targets: two workers at least
1.7 times one, and no slower than one process with both cores.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fp_data.latents import LatentBatches
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.engines import Engine, InProcess
from fp_lab.lab.grids.engines.local import Local
from fp_lab.lab.grids.grid import Arm, Grid
from fp_lab.lab.grids.progress import ArmProgress, GridProgress
from fp_lab.lab.grids.run_grid import grid_jobs
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.tracking import Tracker
from fp_lab.lab.training.fit import fit
from fp_lab.training.framepack_system import step_generator

WARM_UP = 5
STEPS = 30
ROUNDS = 3
ARMS = 4


def lab_steps(config: ExperimentConfig, materials: Materials, runs: Path) -> list[float]:
    """Seconds from the end of a step to the end of the next one, as the lab takes them, MLflow included."""
    ends: list[float] = []
    tracker = Tracker(runs)
    parent = tracker.grid("overhead", runs)
    tracked = tracker.arm(parent, "arm", str(time.time_ns()), {}, runs)
    tracked.open()

    class Watched(ArmProgress):
        def advance(self, done: int, note: str = "") -> None:
            super().advance(done, note)
            ends.append(time.perf_counter())

    progress = GridProgress(Console(quiet=True), 1)
    reporter = Watched(progress, progress._progress, "arm", tracked)
    place = RunFolder(Path(tempfile.mkdtemp(dir=runs)))
    fit(place, config, stage_keys(config).train, materials, reporter, None)
    return between(ends)


def bare_steps(config: ExperimentConfig, materials: Materials) -> list[float]:
    """The same of a loop without the lab: loss, backward, clip, optimiser, schedule, average."""
    system = build_system(config, build_model(config, materials.codec(config).channels))
    system.train()
    made = system.configure_optimizers()
    assert isinstance(made, dict)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    average = AveragedModel(system, multi_avg_fn=get_ema_multi_avg_fn(config.training.ema))
    batches = iter(LatentBatches(materials.training(config), config.training.batch, config.seed))
    ends = []
    for step in range(config.training.steps):
        loss = system.section_loss(next(batches), step_generator(config.seed, 0, step))  # type: ignore[arg-type]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), config.training.gradient_clip)
        optimizer.step()
        schedule.step()
        average.update_parameters(system)
        loss.item()
        ends.append(time.perf_counter())
    return between(ends)


def between(ends: Sequence[float]) -> list[float]:
    """Seconds between settled steps."""
    return [b - a for a, b in zip(ends[WARM_UP:], ends[WARM_UP + 1 :], strict=False)]


def overhead(threads: int) -> None:
    """Print medians over all rounds, and their ratio."""
    settings = (f"training.steps={STEPS}", f"training.threads={threads}", "training.checkpoint_every=20")
    config = load("base", ["recipe=td_f8k8f4k4f2k2f1k1_g9", *settings])
    lab, bare = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        materials = Materials(Path(folder) / "cache", Reporter())
        torch.set_num_threads(threads)
        for _ in range(ROUNDS):
            bare += bare_steps(config, materials)
            lab += lab_steps(config, materials, Path(folder))
    ratio = median(lab) / median(bare)
    mean = sum(lab) / sum(bare)
    print(f"overhead, {threads} threads: lab {1000 * median(lab):.0f} ms, bare {1000 * median(bare):.0f} ms")
    print(f"  ratio of medians {ratio:.3f}, with checkpoints and flushes {mean:.3f}   (target 1.05)")


def workers() -> None:
    """Print the seconds of the same arms by each engine, and the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        seconds = {
            "one worker, one thread": timed(Local(1, cache), jobs(Path(folder) / "one", cache, 1), 1),
            "two workers, one thread each": timed(Local(2, cache), jobs(Path(folder) / "two", cache, 1), 2),
            "one process, two threads": timed(InProcess(cache), jobs(Path(folder) / "here", cache, 2), 1),
        }
    one, two, both = seconds.values()
    for name, value in seconds.items():
        print(f"{name:<30} {value:6.1f} s")
    print(
        f"  two workers {one / two:.2f} times one (target 1.7), {both / two:.2f} times one process (target 1)"
    )


def jobs(runs: Path, cache: Path, threads: int) -> list[Job]:
    """Equal arms that differ in their seed; the first ones warm up the workers."""
    settings = ("recipe=td_f8k8f4k4f2k2f1k1_g9", "training.steps=20", f"training.threads={threads}")
    config = load(
        "base", [*settings, "evaluation.videos=8", "evaluation.batch=8", "evaluation.families=[plain]"]
    )
    arms = [Arm("arm", seed, replace(config, seed=seed)) for seed in range(2 + ARMS)]
    made = grid_jobs(Grid("workers", tuple(arms), ()), runs)
    return [replace(job, cache=cache) for job in made]


def timed(engine: Engine, given: Sequence[Job], slots: int) -> float:
    """Seconds for all but the first jobs, which load what each worker needs."""
    with engine:
        list(done(engine, given[:slots]))
        start = time.perf_counter()
        list(done(engine, given[-ARMS:]))
        return time.perf_counter() - start


def done(engine: Engine, given: Sequence[Job]) -> Iterator[Job]:
    """Jobs as they end."""
    waiting = list(given)
    ended = 0
    while ended < len(given):
        while waiting and engine.free:
            engine.submit(waiting.pop(0), Reporter())
        for job, outcome in engine.ended():
            assert outcome.state == "done", outcome.reason
            ended += 1
            yield job


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("overhead", "workers"))
    parser.add_argument("--threads", type=int, default=2, help="of the overhead's two sides")
    chosen = parser.parse_args()
    if chosen.only != "workers":
        overhead(chosen.threads)
    if chosen.only != "overhead":
        workers()


if __name__ == "__main__":
    main()
