"""What a base recalls through each kernel: python benchmarks/packed_recall.py --base runs/base_recall.

Behind a curtain, from true history: error of one denoising step from almost pure noise (sigma .97) in the
cells of a section that the last frame of history hides and one of the last 19 has shown, by context. One
frame cannot tell them, 19 uncompressed frames tell all; in between lies what is read of a packed history.
Beside it the error in all other cells, and what could be read: the share of the variance of packed latents
that a linear map gives back from their tokens, with noise of 5 % of their spread, on other videos.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from einops import rearrange
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fp_data.latents import to_pixels
from fp_data.worlds import WorldConfig, iterate
from fp_lab.codecs.tiny import Codec
from fp_lab.flow.matching import interpolate
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange, assemble
from fp_lab.packing.packer import projection_name
from fp_lab.recipe import COMPRESSIONS, Kernel, Recipe, parse
from fp_lab.recipe.compressions import from_parts
from fp_lab.recipe.orders import Section, plan

SIGMA = 0.97
REACH = 19
KERNELS = ("k1", "k1h4w2", "k1h4w4", "k1h8w4", "k1h8w8", "k2", "k4", "k8")


def contexts() -> dict[str, Recipe]:
    """One frame, 18 frames of each kernel behind it, the presets, and 19 uncompressed frames."""
    single = {f"18 frames {kernel}, 1 k1": parse(f"td_f18{kernel}f1k1_g9") for kernel in KERNELS[1:]}
    presets = {name: from_parts(name, "vanilla") for name in COMPRESSIONS}
    return {"1 k1": parse("td_f1k1_g9"), **single, **presets, "19 k1": parse("td_f19k1_g9")}


class Videos:
    """Held-out videos of the curtain: latents ``b c t h w`` and the share that is covered, ``b t h w``."""

    def __init__(self, codec: Codec, seeds: range) -> None:
        latents, covered, self.captions = [], [], []
        for world in iterate(WorldConfig(variant="curtain", frames=64), seeds):
            latents.append(codec.encode(to_pixels(world.frames)))
            covered.append(F.avg_pool2d(world.covered.float(), 64 // latents[0].shape[-1]))
            self.captions += world.captions
        self.latents, self.covered = torch.cat(latents), torch.cat(covered)

    def coming_back(self, section: Section) -> Tensor:
        """Cells ``b t h w`` of a section that its last frame of history hides and earlier ones have shown."""
        last = section.targets[0] - 1
        seen = self.covered < 0.1
        before = seen[:, max(0, last - REACH + 1) : last].any(1)
        return seen[:, list(section.targets)] & (before & ~seen[:, last])[:, None]


def errors(model: FramePackModel, recipe: Recipe, videos: Videos, sections: slice) -> tuple[float, float]:
    """Mean squared error of clean latents per cell and channel, of cells that come back and of others."""
    generator = torch.Generator().manual_seed(0)
    sums, counts = torch.zeros(2), torch.zeros(2)
    text = model.backbone.encode_text(videos.captions)
    for section in plan(recipe, videos.latents.shape[2])[sections]:
        sample = assemble(videos.latents, [arrange(recipe, section, videos.latents.shape[2], model.context)])
        noise = torch.randn(sample.target.shape, generator=generator)
        sigmas = torch.full((len(noise),), SIGMA)
        noisy = interpolate(sample.target, noise, sigmas)
        packed = model.memory_of(model.pack(sample.context), text)
        error = (model(noisy, sample.times, sigmas, text, packed) - sample.target).square().mean(1)
        back = videos.coming_back(section)
        for place, cells in enumerate((back, ~back)):
            sums[place] += error[cells].sum()
            counts[place] += cells.sum()
    back_error, other_error = (sums / counts).tolist()
    return back_error, other_error


def held(model: FramePackModel, kernel: Kernel, latents: Tensor) -> float:
    """Share of the variance of latents that a linear map gives back from noisy tokens.

    Args:
        model: whose projections are looked at.
        kernel: of the tokens.
        latents: ``b c t h w``; the map is fitted on three quarters of the videos.

    Returns:
        At most 1; NaN where there are fewer than four tokens for each of their numbers.
    """
    projection = model.packer.projections[projection_name(kernel)]
    frames = latents.shape[2] // kernel.t * kernel.t
    size = {"kt": kernel.t, "kh": kernel.h, "kw": kernel.w}
    pattern = "b c (t kt) (h kh) (w kw) -> b (t h w) (c kt kh kw)"
    parts = rearrange(latents[:, :, :frames], pattern, **size).double()
    tokens = parts @ projection.weight.flatten(1).double().T
    noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0), dtype=tokens.dtype)
    tokens = F.pad(tokens + 0.05 * tokens.std() * noise, (0, 1), value=1.0)
    fitted = len(latents) * 3 // 4
    given, known = tokens[:fitted].flatten(0, 1), parts[:fitted].flatten(0, 1)
    if len(given) < 4 * given.shape[1]:
        return math.nan
    missed = tokens[fitted:] @ torch.linalg.lstsq(given, known).solution - parts[fitted:]
    spread = parts[fitted:] - known.mean(0)
    return 1 - (missed.square().sum() / spread.square().sum()).item()


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="shipped")
    parser.add_argument("--codec", default="shipped")
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = FramePackModel.load(options.base).eval()
    if model.output != "clean":
        parser.error(f"--base: got a model that predicts {model.output!r}, expected clean latents")
    videos = Videos(Codec.load(options.codec), range(options.videos))
    recipes = contexts()
    found = {name: errors(model, recipe, videos, slice(1, 6)) for name, recipe in recipes.items()}
    none, all_of_it = found["1 k1"][0], found["19 k1"][0]
    table = Table(
        "context", "error, what comes back", "of what 19 k1 gain on 1 k1", "error, all else", "tokens hold"
    )
    for name, (back, other) in found.items():
        share = f"{(none - back) / (none - all_of_it):.0%}"
        kernel = recipes[name].levels[0].kernel
        holds = held(model, kernel, videos.latents) if name.startswith("18 frames") else math.nan
        table.add_row(name, f"{back:.3f}", share, f"{other:.3f}", "" if math.isnan(holds) else f"{holds:.0%}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
