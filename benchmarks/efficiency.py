"""Share of the matmul peak in training, per arm: python benchmarks/efficiency.py --threads 1.

At two sizes: the demo's (width 128, batch 16), and width 512. All arms of a size are measured in turn in one
process. A step's matrix products over its wall time are held against the rate at which the same threads do
the blocks' own products (own), and a large one (large). Targets: at least 0.6 at demo size, 0.8 at width 512.
At demo size packed arms are then compared with the full history and with full-sequence diffusion.
"""

import argparse
from dataclasses import dataclass

from fp_lab.codecs.tiny import Codec
from fp_lab.lab.efficiency.measure import measure
from fp_lab.lab.efficiency.tables import ratio_table
from fp_lab.lab.grids.efficiency_arms import sides_of
from fp_lab.lab.tables import to_text

ARMS = ("td_f8k8f4k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f4k4f8k8_td", "g9")


@dataclass(frozen=True)
class Size:
    """A size of the model: settings, the share to reach, and whether full history and sequence run too."""

    settings: tuple[str, ...]
    target: float
    compares: bool


SIZES = {
    "demo": Size((), 0.6, True),
    "wide": Size(
        ("model.base=null", "model.backbone.width=512", "model.backbone.head_width=64", "training.batch=16"),
        0.8,
        False,
    ),
}


def run(name: str, threads: int, rounds: int) -> None:
    """Measure one size; print a line per arm, and the ratios."""
    size = SIZES[name]
    sides = sides_of(ARMS, [*size.settings, f"training.threads={threads}"])
    measured = measure(
        [side for side in sides if size.compares or not side.compared], Codec.load("shipped"), rounds=rounds
    )
    large = measured.large_flops_per_second / 1e9
    print(f"{name}: {threads} threads, batch {measured.batch}; large product {large:.1f} GFLOP/s")
    for arm in measured.arms:
        print(
            f"  {arm.name:<30} {1000 * arm.step_seconds:7.0f} ms {arm.flops_per_second / 1e9:7.1f} GFLOP/s   "
            f"own {arm.own_share:.2f}   large {arm.large_share:.2f}   target {size.target}"
        )
    if size.compares:
        print(to_text(ratio_table(measured)))


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are taken")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="which")
    arguments = parser.parse_args()
    for name in arguments.sizes:
        run(name, arguments.threads, arguments.rounds)


if __name__ == "__main__":
    main()
