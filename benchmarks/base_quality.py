"""What a base can do before arms are built on it: python benchmarks/base_quality.py --base runs/base.

Moving objects: videos of `plain` with told motion, from own and from true history; values are means over
videos and the frames of the last sections. Memory: what comes back behind the curtain, with 19 uncompressed
frames of history and with one; PSNR against the truth of pixels that were shown truly before, and the share
of objects that the probe tells right after gaps that 19 frames reach. Wanted are the figures that make arms
worth comparing.
"""

import argparse
from collections.abc import Iterator

import torch
from rich.console import Console

from fp_lab.codecs.tiny import Codec
from fp_lab.lab.scoring.base_quality import Judge
from fp_lab.model import FramePackModel


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="shipped")
    parser.add_argument("--codec", default="shipped")
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="of the Euler solver")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    judge = Judge(
        FramePackModel.load(options.base).eval(),
        Codec.load(options.codec),
        range(options.videos),
        options.steps,
    )
    for row in rows(judge):
        Console().print(row, highlight=False)


def rows(judge: Judge) -> Iterator[str]:
    """Lines of the table, each as soon as it is measured."""
    yield f"{'':52} measured  wanted"

    def row(what: str, measured: float, wanted: str) -> str:
        return f"{what:52} {measured:8.3f}  {wanted}"

    (own,) = judge.moving("td_f3k1_g9", 28, range(10, 28), true_history=False)
    (true,) = judge.moving("td_f3k1_g9", 28, range(10, 28), true_history=True)
    yield row("speed reached, told, own history", own["world/speed-reached"], ">= .85")
    yield row("shape IoU, true history", true["world/shape-iou"], ">= .93")
    yield row("shape IoU, own history", own["world/shape-iou"], ">= .85")
    (far,) = judge.moving("td_f16k4f2k2f1k1_g9", 64, range(55, 64), true_history=False)
    yield row("look against the first frame after 64 frames", far["world/look-against-first"], ">= .92")
    for history in ("true", "own"):
        many, one = (
            judge.recalled(recipe, 64, true_history=history == "true")
            for recipe in ("td_f19k1_g9", "td_f1k1_g9")
        )
        yield row(f"recall of 19 k1 frames less of 1, dB, {history} history", many.psnr - one.psnr, ">= 6")
        yield row(f"objects told right, 19 k1 frames, {history} history", many.told, ">= .80")
        yield row(f"objects told right, 1 frame, {history} history", one.told, "chance")


if __name__ == "__main__":
    main()
