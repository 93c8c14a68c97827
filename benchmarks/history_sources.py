"""Training steps by the source of histories, in turn in one process: python benchmarks/history_sources.py.

Each arm takes steps of a bare loop with the shipped base; a round is as many steps as lie between two
refreshes of rollouts, so that each has one. Printed are the mean processor time of a step over that with true
histories, from the median round of each arm; the ratio that is counted (`step_flops`); and what the numbers
of steps at equal compute (`training.compute_of`) times the measured steps take, over the training with true
histories: within 5 % where the count is right.

Targets: augmented 1.05, recycled 1.1, resampled in one step 1.5, rollout refreshed every 10 steps 1.5.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

from fp_data.latents import LatentBatches
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.planning.flops import at_equal_compute, step_flops
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.training.framepack_system import step_generator

TARGETS = {"augmented": 1.05, "recycled": 1.1, "resampled": 1.5, "rollout": 1.5}
SOURCES = ("true", *TARGETS, "reversed")
STEPS = 1000
"""Steps of the training with true histories that equal compute is counted for."""


def rounds(config: ExperimentConfig, materials: Materials, steps: int) -> Iterator[float]:
    """Seconds of so many steps, over and over: loss, backward, clip, optimiser."""
    system = build_system(config, build_model(config, materials.codec(config).channels))
    system.train()
    made = system.configure_optimizers()
    assert isinstance(made, dict)
    batches = iter(LatentBatches(materials.training(config), config.training.batch, config.seed))
    done = 0
    while True:
        started = time.process_time()  # other processes disturb it least
        for _ in range(steps):
            loss = system.section_loss(next(batches), step_generator(config.seed, 0, done))  # type: ignore[arg-type]
            made["optimizer"].zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(system.parameters(), config.training.gradient_clip)
            made["optimizer"].step()
            done += 1
        yield time.process_time() - started


def main() -> None:
    """Print a line per source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="td_f16k4f2k2f1k1_g9", help="of all arms")
    parser.add_argument("--rounds", type=int, default=3, help="of each arm, after one to warm up")
    parser.add_argument("--every", type=int, default=10, help="steps of a round, and between refreshes")
    parser.add_argument("--batch", type=int, default=8, help="videos of a step")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = [f"recipe={options.recipe}", f"training.batch={options.batch}", "data.train_videos=32"]
    settings += [f"training.steps={STEPS}", f"training.compute_of={options.recipe}"]
    settings += [f"objective.history.{name}.every={options.every}" for name in ("rollout", "reversed")]
    arms = {name: load("base", [*settings, f"objective.history.source={name}"]) for name in SOURCES}
    with tempfile.TemporaryDirectory() as folder:
        materials = Materials(Path(folder), Reporter())
        running = {name: rounds(config, materials, options.every) for name, config in arms.items()}
        taken: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(1 + options.rounds):
            for name, steps in running.items():
                taken[name].append(next(steps))
    typical = {name: median(times[1:]) / options.every for name, times in taken.items()}
    counted = {name: step_flops(config) for name, config in arms.items()}
    print(f"{options.recipe}, batch {options.batch}, {options.threads} threads: ", end="")
    print(f"{1000 * typical['true']:.0f} ms a step")
    print("source       step   target   counted   steps at equal compute   their time")
    for name, config in arms.items():
        ratio, target = typical[name] / typical["true"], TARGETS.get(name, "")
        steps = at_equal_compute(config).training.steps
        shares = f"{ratio:5.3f}   {target:>6}   {counted[name] / counted['true']:7.3f}"
        print(f"{name:10}  {shares}   {steps:22}   {steps * ratio / STEPS:10.3f}")


if __name__ == "__main__":
    main()
