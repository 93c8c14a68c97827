"""Which levels a base reads: python benchmarks/level_influence.py --base runs/base --codec runs/codec.

Of every level of every preset, in the vanilla, endpoint and inverted order: how much the prediction of a
section changes when that level comes from another video (R, see `fp_lab.sampling.influence`), and how much
when it comes from a second round trip of the same video through the codec, which is the noise. A level whose
R is no more than its noise is not read.
"""

import argparse
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table

from fp_data.latents import to_frames, to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codecs.tiny import Codec
from fp_lab.model import FramePackModel
from fp_lab.packing.kernel_fit import misfits
from fp_lab.recipe import COMPRESSIONS, Recipe
from fp_lab.recipe.compressions import from_parts
from fp_lab.sampling.influence import LevelInfluence, level_influence
from fp_metrics import cluster_interval


def presets() -> Iterator[tuple[str, Recipe]]:
    """Every compression in every order that has a history."""
    for compression in COMPRESSIONS:
        for order in ("vanilla", "endpoint", "inverted"):
            yield f"{order} · {compression}", from_parts(compression, order)


@torch.no_grad()
def encoded(codec: Codec, world: WorldConfig, videos: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Latents of held-out videos, the same after a second round trip, and captions."""
    true = render(world, range(videos))
    latents = codec.encode(to_pixels(true.frames))
    again = codec.encode(to_pixels(to_frames(codec.decode(latents))))
    return latents, again, list(true.captions)


def row(level: LevelInfluence) -> tuple[str, ...]:
    """A level's figures, as text."""
    influence, noise = (
        cluster_interval(values.tolist(), list(range(len(values)))) for values in (level.ratios, level.noise)
    )
    return (
        level.name,
        str(level.frames),
        f"{influence.mean:.4f} [{influence.low:.4f}, {influence.high:.4f}]",
        f"{noise.mean:.5f}",
        f"{influence.mean / max(noise.mean, 1e-12):.0f}",
        f"{float((level.ratios > level.noise).double().mean()):.0%}",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="shipped")
    parser.add_argument("--codec", default="shipped")
    parser.add_argument("--world", default="curtain")
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, codec = FramePackModel.load(options.base).eval(), Codec.load(options.codec)
    latents, again, captions = encoded(codec, WorldConfig(variant=options.world, frames=64), options.videos)
    table = Table("preset", "level", "frames", "influence R", "noise", "ratio", "videos above noise")
    for name, recipe in presets():
        fits = not list(misfits(recipe, *latents.shape[-2:]))
        for index, level in enumerate(
            level_influence(model, recipe, latents, captions, again, seeds=range(options.videos))
        ):
            table.add_row(name + ("" if fits else " (misfit)") if index == 0 else "", *row(level))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
