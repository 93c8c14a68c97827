"""How long a user waits for a look around: python benchmarks/commands.py.

Seconds of whole processes, in turn, with the bare start of Python beside them. Targets: `fp-lab --help` at
most 0.5 s, `fp-lab explain` 1 s. `fp-lab compare` has a benchmark of its own, comparing.py.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

COMMANDS = {
    "python -c pass": (),
    "fp-lab --help": ("--help",),
    "fp-lab explain NAME": ("explain", "f1k1_x_g9_f1k1f2k2f16k4_td"),
    "fp-lab grid --help": ("grid", "--help"),
    "fp-lab compare --help": ("compare", "--help"),
}
TARGETS = {"fp-lab --help": 0.5, "fp-lab explain NAME": 1.0}
PROGRAM = "from fp_lab.cli import app; app()"


def seconds(arguments: tuple[str, ...]) -> float:
    """Wall time of one process."""
    program = PROGRAM if arguments else "pass"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            taken[name].append(seconds(arguments))
    for name, times in taken.items():
        target = f"   target {TARGETS[name]}" if name in TARGETS else ""
        print(f"{name:<24} median {median(times):.2f} s, least {min(times):.2f} s{target}")


if __name__ == "__main__":
    main()
