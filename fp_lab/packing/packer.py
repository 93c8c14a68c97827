"""One projection per kernel: the context's frames become tokens."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fp_lab.packing.rope import RopeConfig, phases
from fp_lab.recipe import BASE, Kernel, Recipe
from fp_lab.shapes import ContextLevel, PackedContext, Phases

_K16 = Kernel(16, 32, 32)


def kernels_of(recipe: Recipe) -> tuple[Kernel, ...]:
    """Every kernel that a recipe names, once, in the order of the name."""
    runs = (*recipe.left.runs, *recipe.right.runs)
    return tuple(dict.fromkeys(level.kernel for run in runs for level in run.levels))


def require_packable(recipe: Recipe) -> None:
    """Refuse what a name can say and a context cannot hold, rather than train something else under it.

    Raises:
        ValueError: a tail that keeps frames, a discrete history, or the kernel k16.
    """
    tails = [side.tail for side in (recipe.left, recipe.right)]
    wanted = [f"the tail {tail}" for tail in tails if tail in ("ta", "tc")]
    wanted += ["a discrete history (+D)"] if recipe.codebook is not None else []
    wanted += ["the kernel k16"] if _K16 in kernels_of(recipe) else []
    if wanted:
        raise ValueError(
            f"recipe {recipe}: packing {' and '.join(wanted)} is not implemented; expected the tail td or "
            "none, no +D and no k16 (fp-lab explain knows them)"
        )


def interpolate_projection(base: nn.Conv3d, kernel: Kernel) -> tuple[Tensor, Tensor | None]:
    """Weight and bias for a larger kernel that acts like the base projection on average-pooled latents.

    Each tap is repeated over the larger kernel and divided by the number of repeats; the bias is copied.

    Args:
        base: projection with kernel = stride.
        kernel: a multiple of the base's kernel along each axis.

    Raises:
        ValueError: if it is not a multiple.
    """
    size = tuple(base.kernel_size)
    wanted = (kernel.t, kernel.h, kernel.w)
    if any(large % small for large, small in zip(wanted, size, strict=True)):
        raise ValueError(
            f"kernel {wanted} is not a multiple of the base projection's kernel {size} along every axis"
        )
    weight = base.weight.detach()
    for axis, (large, small) in enumerate(zip(wanted, size, strict=True), start=2):
        weight = weight.repeat_interleave(large // small, dim=axis) / (large // small)
    return weight.clone(), None if base.bias is None else base.bias.detach().clone()


def pad_to_kernel(latents: Tensor, kernel: Kernel) -> Tensor:
    """Replicate-pad ``b c t h w`` at the end of t, h and w until the kernel divides it."""
    t, h, w = latents.shape[-3:]
    padding = (0, -w % kernel.w, 0, -h % kernel.h, 0, -t % kernel.t)
    return F.pad(latents, padding, mode="replicate") if any(padding) else latents


class ContextPacker(nn.Module):
    """Independent patchify parameters per kernel (`M4`), for clean frames at the base kernel too."""

    def __init__(self, kernels: Iterable[Kernel], channels: int, width: int, rope: RopeConfig) -> None:
        super().__init__()
        self.rope, self.width = rope, width
        self.projections = nn.ModuleDict()
        for kernel in kernels:
            size = (kernel.t, kernel.h, kernel.w)
            self.projections[projection_name(kernel)] = nn.Conv3d(channels, width, size, stride=size)

    @torch.no_grad()
    def initialise_from(self, base: nn.Conv3d) -> None:
        """Initialise every projection by interpolation of a pretrained one."""
        for projection in self.projections.values():
            assert isinstance(projection, nn.Conv3d)
            t, h, w = projection.kernel_size
            weight, bias = interpolate_projection(base, Kernel(t, h, w))
            projection.weight.copy_(weight)
            if projection.bias is not None and bias is not None:
                projection.bias.copy_(bias)

    def base_projection(self) -> nn.Conv3d:
        """The projection of clean frames at (1, 2, 2), if this packer has one.

        Raises:
            ValueError: if no level uses the base kernel.
        """
        name = projection_name(BASE)
        if name not in self.projections:
            raise ValueError(
                f"this packer has no projection at the base kernel, only {sorted(self.projections)}"
            )
        projection = self.projections[name]
        assert isinstance(projection, nn.Conv3d)
        return projection

    def forward(self, context: tuple[ContextLevel, ...]) -> PackedContext | None:
        """Project and position every level.

        Args:
            context: levels with latents ``b c t h w``.

        Returns:
            Tokens in the order of the levels; None when no token of any item is known.
        """
        tokens, cosines, sines, masks = [], [], [], []
        for level in context:
            known = _token_mask(level)
            if not known.any():
                continue
            projected = self.projections[projection_name(level.kernel)](
                pad_to_kernel(level.latents, level.kernel)
            )
            rows, columns = level.latents.shape[-2:]
            phase = phases(level.times, rows, columns, level.kernel, self.rope)
            used = known.any(0)
            tokens.append(projected.flatten(2).mT[:, used])
            cosines.append(phase.cos[:, used])
            sines.append(phase.sin[:, used])
            masks.append(known[:, used])
        if not tokens:
            return None
        mask = torch.cat(masks, 1)
        return PackedContext(
            torch.cat(tokens, 1),
            Phases(torch.cat(cosines, 1), torch.cat(sines, 1)),
            None if mask.all() else mask,
        )


def projection_name(kernel: Kernel) -> str:
    """Name of a kernel's projection in a state dict, such as ``1x2x2``."""
    return f"{kernel.t}x{kernel.h}x{kernel.w}"


def _token_mask(level: ContextLevel) -> Tensor:
    """Bool ``b n``: whether any frame of a token is known."""
    rows, columns = level.latents.shape[-2:]
    per_frame = -(-rows // level.kernel.h) * -(-columns // level.kernel.w)
    missing = -level.known.shape[1] % level.kernel.t
    known = F.pad(level.known, (0, missing)).unflatten(1, (-1, level.kernel.t)).any(2)
    return known.repeat_interleave(per_frame, 1)
