"""Whether kernels leave anything of a frame: a token may cover all of it, or more than there is."""

from collections.abc import Iterator
from dataclasses import dataclass

from fp_lab.packing.token_counts import TAIL_POOL
from fp_lab.recipe import Kernel, Level, Recipe

_POOL = Kernel(1, TAIL_POOL, TAIL_POOL)


@dataclass(frozen=True)
class KernelFit:
    """How a level's kernel fits a latent frame. All is well where both are 0.

    Attributes:
        padding: Share of the tokens' rows x columns that lies outside the frame, in [0, 1), where the kernel
            is larger than the frame along height or width; 0 where it is not, also where its last row or
            column of tokens is padded.
        whole_frames: Frames that one token stands for where it covers the whole of them; 0 where a frame has
            several tokens.
    """

    padding: float
    whole_frames: int

    def __str__(self) -> str:
        """In words, such as ``75% padding and one token for 8 whole frames``; empty where all is well."""
        frames = "a whole frame" if self.whole_frames == 1 else f"{self.whole_frames} whole frames"
        said = [f"{self.padding:.0%} padding"] if self.padding else []
        said += [f"one token for {frames}"] if self.whole_frames else []
        return " and ".join(said)


def kernel_fit(level: Level, height: int, width: int) -> KernelFit:
    """How the kernel of a full level fits frames of ``height`` x ``width`` latents."""
    kernel = level.kernel
    padding = 0.0
    if kernel.h > height or kernel.w > width:
        rows, columns = height + -height % kernel.h, width + -width % kernel.w
        padding = 1 - height * width / (rows * columns)
    covers = kernel.h >= height and kernel.w >= width
    return KernelFit(padding, min(level.frames, kernel.t) if covers else 0)


def misfits(recipe: Recipe, height: int, width: int) -> tuple[str, ...]:
    """Remarks on kernels too coarse for the frame, each once, levels before tails; none where all are fine.

    A ``tc`` tail is one frame at the farthest kernel. A ``ta`` tail is remarked on where its pool of 32 x 32
    covers the frame; that one token holds the pooled frame is what the method means by it.

    Args:
        recipe: Levels and tails.
        height: Latent rows.
        width: Latent columns.
    """
    return tuple(dict.fromkeys(_remarks(recipe, height, width)))


def _remarks(recipe: Recipe, height: int, width: int) -> Iterator[str]:
    frame = f"on {height}x{width} latents"
    for level in recipe.levels:
        if said := str(kernel_fit(level, height, width)):
            yield f"{level.kernel} {frame} is {said}"
    for side, outermost in ((recipe.left, 0), (recipe.right, -1)):
        if side.tail == "tc":
            kernel = side.levels[outermost].kernel
            if said := str(kernel_fit(Level(1, kernel), height, width)):
                yield f"tail tc at {kernel} {frame} is {said}"
        if side.tail == "ta" and kernel_fit(Level(1, _POOL), height, width).whole_frames:
            yield f"tail ta {frame} averages each whole frame to one latent"
