"""`fp-lab compare` of many recorded runs: seconds of the whole command, and by part.

    python benchmarks/comparing.py [--runs 1000] [--seeds 4] [--videos 16]

The runs are made up: scores drawn at random for every estimator of the families plain, probe and world, in
one grid folder. The first comparison reads every run and leaves the index, the second finds the index.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fp_lab.lab.scoring.files import ScoresFolder, family_of
from fp_lab.lab.scoring.score_video import companion_score, measures, spans_of
from fp_metrics import Estimator, protocol

FAMILIES = ("plain", "probe", "world")


def main() -> None:
    """Make the runs, compare them twice, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=4, help="training seeds per arm")
    parser.add_argument("--videos", type=int, default=16)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "grid"
        make_runs(grid, asked.runs, asked.seeds, asked.videos)
        for what in ("without an index", "with the index"):
            print(f"fp-lab compare of {asked.runs} runs, {what}: {command_seconds(['compare', str(grid)])}")
        subprocess.run([sys.executable, "-c", _PARTS, str(grid)], check=True)


def command_seconds(arguments: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command of the lab; return its seconds of CPU and of wall time in words."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [str(Path(sys.executable).with_name("fp-lab")), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return f"{cpu:5.2f} s of CPU, {wall:5.2f} s in all"


_PARTS = """
import sys, time
from pathlib import Path
last = time.process_time()
def part(name):
    global last
    print(f"  {name:20s} {time.process_time() - last:5.2f} s of CPU")
    last = time.process_time()
from fp_lab.lab.compare.comparison import compare
from fp_lab.lab.results.gather import gather
part("imports")
gathered = gather([Path(sys.argv[1])])
part("gathering")
comparison = compare(gathered)
part("verdict")
shown = comparison.text
part("tables to look at")
tables = comparison.tables
part("all other tables")
print(f"  torch was {'imported' if 'torch' in sys.modules else 'not imported'}; {len(gathered.arms)} arms")
"""


def make_runs(grid: Path, runs: int, seeds: int, videos: int) -> None:
    """Arms that differ by a setting, so many training seeds each."""
    random = np.random.default_rng(0)
    kinds = {name: kind for name, kind in measures().items() if family_of(name) in (*FAMILIES, "companion")}
    told = {
        name: {"unit": kind.unit, "higher_is_better": kind.higher_is_better} for name, kind in kinds.items()
    }
    size = {"videos": videos, "frames": 64, "height": 64, "width": 64, "fps": 16.0}
    known = {"protocol": protocol(FAMILIES), "estimators": told, "spans": spans_of(told, size["fps"])}
    summary = json.dumps({**size, **known})
    scores = {n: k.score if issubclass(k, Estimator) else companion_score(n) for n, k in kinds.items()}
    labels = [
        {"video": v, "prompt": f"prompt {v}", "seed": v, "history": history, "estimator": name}
        | {"score": scores[name], "family": family_of(name), "reason": None, "drift_reason": None}
        for name in kinds
        for history in ("own", "true")
        for v in range(videos)
    ]
    table = pd.DataFrame(labels)
    for number in range(runs):
        arm, seed = f"td_f16k4f2k2f1k1_g9--training.steps={number // seeds + 1}", number % seeds
        scores = ScoresFolder(grid / arm / f"seed{seed}" / "scores")
        scores.path.mkdir(parents=True)
        level = random.normal(0.5, 0.02)
        table = table.assign(value=random.normal(level, 0.1, len(table)))
        table = table.assign(drift=random.normal(0, 0.1, len(table)), exposure_gap=0.0, exposure_reason=None)
        table.to_parquet(scores.videos, index=False)
        scores.summary.write_text(summary)
        (scores.path.parent / "config.yaml").write_text(f"recipe: td_f16k4f2k2f1k1_g9\nseed: {seed}\n")
        (scores.path.parent / "efficiency.json").write_text(
            json.dumps({"step_seconds": random.uniform(0.3, 0.5)})
        )


if __name__ == "__main__":
    main()
