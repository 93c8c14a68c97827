"""`fp-lab grid --dry-run` of many arms: seconds of the whole command, and by part.

    python benchmarks/dry_run.py [--arms 1000]

The arms are made up: recipes at 25 noises of the history each. The first dry run times a training step and
the scores of a video, the second finds these timings unless the machine is busy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from comparing import command_seconds

NOISES = 25


def main() -> None:
    """Make the grid, plan it twice, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        grid, runs = Path(folder) / "made_up.yaml", Path(folder) / "runs"
        grid.write_text(grid_of(asked.arms))
        environment = os.environ | {"FP_LAB_CACHE": str(Path(folder) / "cache")}
        for what in ("first", "again"):
            command = ["grid", str(grid), "--dry-run", "--runs", str(runs)]
            taken = command_seconds(command, environment)
            print(f"fp-lab grid --dry-run of {asked.arms} arms, {what}: {taken}")
        subprocess.run([sys.executable, "-c", _PARTS, str(grid), str(runs)], check=True, env=environment)


def grid_of(arms: int) -> str:
    """A grid file: recipes by the number of arms, each at `NOISES` noises of its history."""
    levels = [f"td_f{near}k4f{far}k2f1k1" for near in (4, 8, 12, 16) for far in (2, 4)]
    recipes = [f"{one}_g{section}" for one in levels for section in range(1, 10)][: -(-arms // NOISES)]
    noises = [number / 100 for number in range(NOISES)]
    return f"base: base\naxes:\n  recipe: [{', '.join(recipes)}]\n  objective.history.noise: {noises}\n"


_PARTS = """
import sys, time
from pathlib import Path
last = time.process_time()
def part(name):
    global last
    print(f"  {name:20s} {time.process_time() - last:5.2f} s of CPU")
    last = time.process_time()
import io
from rich.console import Console
from fp_lab.lab.dry_run.cost_estimate import estimate
from fp_lab.lab.dry_run.plan_table import plan_notes, plan_table, Options
from fp_lab.lab.grids.cautions import cautions
from fp_lab.lab.grids.changes import changes_in
from fp_lab.lab.grids.feasible import check_feasible
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.placement import place_arms
from fp_lab.lab.grids.run_grid import placed_jobs
from fp_lab.lab.tables import print_whole
part("imports")
grid = load_grid(sys.argv[1])
runs = Path(sys.argv[2])
part("settings")
placed = place_arms(grid, runs / grid.name)
part("keys and folders")
jobs = placed_jobs(placed, runs)
check_feasible(grid.arms)
part("checks")
costs = estimate(jobs)
part("costs")
changes, _ = changes_in(placed.grid)
part("changes")
table = plan_table(placed.grid, jobs, costs, changes=changes)
print_whole(Console(file=io.StringIO()), table)
part("table")
plan_notes(jobs, Options())
cautions(grid.arms)
part("notes and cautions")
"""


if __name__ == "__main__":
    main()
