"""One projection per kernel: the context's frames become tokens."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fp_lab.packing.context import PACKERS, ContextConfig
from fp_lab.packing.rope import Axis, RopeConfig, box_phases, view_axes
from fp_lab.packing.token_counts import TAIL_POOL
from fp_lab.recipe import BASE, Kernel, Recipe
from fp_lab.shapes import ContextLevel, PackedContext, Phases

K8, K16 = Kernel(8, 16, 16), Kernel(16, 32, 32)


def kernels_of(recipe: Recipe) -> tuple[Kernel, ...]:
    """Every kernel that a recipe names, once, in the order of the name."""
    return tuple(dict.fromkeys(level.kernel for level in recipe.levels))


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
        # sum of W/r x over r repeats = W mean(x)
        weight = weight.repeat_interleave(large // small, dim=axis) / (large // small)
    return weight.clone(), None if base.bias is None else base.bias.detach().clone()


def patchify(projection: nn.Conv3d, latents: Tensor) -> Tensor:
    """Tokens ``b n d`` of latents ``b c t h w`` that the projection's kernel, which is its stride, divides.

    As one matrix product: a convolution with a kernel as large as 8 x 16 x 16 reorders its weights each time.
    """
    t, h, w = projection.kernel_size
    patches = rearrange(latents, "b c (t p) (h q) (w r) -> b (t h w) (c p q r)", p=t, q=h, r=w)
    weight = projection.weight.flatten(1)
    return F.linear(patches.to(weight.dtype), weight, projection.bias)


def pad_to_kernel(latents: Tensor, kernel: Kernel) -> Tensor:
    """Replicate-pad ``b c t h w`` at the end of t, h and w until the kernel divides it."""
    t, h, w = latents.shape[-3:]
    # from the last axis to the first; at the end only, as the released `pad_for_3d_conv`
    padding = (0, -w % kernel.w, 0, -h % kernel.h, 0, -t % kernel.t)
    return F.pad(latents, padding, mode="replicate") if any(padding) else latents


def pool_tail_frames(latents: Tensor) -> Tensor:
    """Average the frames ``b c t h w`` of a tail ``ta`` by (1, 32, 32); smaller frames to one pixel."""
    h, w = (min(TAIL_POOL, size) for size in latents.shape[-2:])
    padded = F.pad(latents, (0, -latents.shape[-1] % w, 0, -latents.shape[-2] % h, 0, 0), mode="replicate")
    return F.avg_pool3d(padded, (1, h, w))


@PACKERS.register("projections")
class ContextPacker(nn.Module):
    """Projections and phases of the context.

    With ``projection: independent`` there are patchify parameters for every kernel (`M4`), for clean frames
    at the base kernel too; with ``shared`` one base projection behind an average pool.
    """

    def __init__(
        self,
        kernels: Iterable[Kernel],
        channels: int,
        width: int,
        rope: RopeConfig,
        config: ContextConfig | None = None,
        attention: tuple[int, int] = (0, 0),
    ) -> None:
        """Make random projections.

        Args:
            kernels: of the schedule.
            channels: of a latent frame.
            width: of a token.
            rope: of the backbone.
            config: options; by default all defaults.
            attention: depth and heads of the backbone, for ``amplify``.
        """
        super().__init__()
        self.rope, self.width = rope, width
        self.config = config or ContextConfig()
        self.projections = nn.ModuleDict()
        for kernel in kernels:
            _, convolved = self._route(kernel)
            size = (convolved.t, convolved.h, convolved.w)
            self.projections[projection_name(convolved)] = nn.Conv3d(channels, width, size, stride=size)
        # exp(0) = 1: training starts from plain attention; the exponential keeps the factor positive
        self.amplification = nn.Parameter(torch.zeros(attention)) if self.config.amplify else None

    @torch.no_grad()
    def initialise_from(self, base: nn.Conv3d) -> None:
        """Start from a pretrained projection; ``init: random`` leaves independent projections as they are."""
        if self.config.init == "random" and self.config.projection == "independent":
            return
        for projection in self.projections.values():
            assert isinstance(projection, nn.Conv3d)
            t, h, w = projection.kernel_size
            weight, bias = interpolate_projection(base, Kernel(t, h, w))
            projection.weight.copy_(weight)
            if projection.bias is not None and bias is not None:
                projection.bias.copy_(bias)

    @torch.no_grad()
    def take_over(self, other: "ContextPacker") -> None:
        """Start from a trained packer: from its projections where it has the kernel, else from its base.

        With ``init: random`` independent projections stay as they are.
        """
        self.initialise_from(other.base_projection())
        if self.config.init == "random" and self.config.projection == "independent":
            return
        for name, projection in self.projections.items():
            if name in other.projections:
                projection.load_state_dict(other.projections[name].state_dict())

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

    def forward(
        self,
        context: tuple[ContextLevel, ...],
        levels: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> PackedContext | None:
        """Project and position every level.

        Args:
            context: levels with latents ``b c t h w``.
            levels: noise levels of the latents, ``b`` in [0, 1], for ``timestep: level``; None: clean.
            rope: frequencies in place of the backbone's.

        Returns:
            Tokens in the order of the levels; None when no token of any item is known.
        """
        tokens: list[Tensor] = []
        cosines: list[Tensor] = []
        sines: list[Tensor] = []
        masks: list[Tensor] = []
        frames: list[Tensor] = []
        for level in context:
            known = self._known_tokens(level)
            if not known.any():
                continue
            axes = self._axes(level)
            phase = box_phases(*axes, rope or self.rope, self.config.phases)
            frame = axes[0].middle
            # tokens that no video knows are cut, not masked: their attention would cost and give nothing
            used = known.any(0)
            every = bool(used.all())  # selecting all would copy, and so would its gradient
            for parts, part in (
                (tokens, self._project(level)),
                (cosines, phase.cos),
                (sines, phase.sin),
                (masks, known),
                (frames, frame.repeat_interleave(known.shape[1] // frame.shape[1], 1)),
            ):
                parts.append(part if every else part[:, used])
        if not tokens:
            return None
        mask = torch.cat(masks, 1)
        return PackedContext(
            torch.cat(tokens, 1),
            Phases(torch.cat(cosines, 1), torch.cat(sines, 1)),
            # None where it hides nothing: flash attention takes no mask
            None if mask.all() else mask,
            self._timesteps(mask, levels),
            self.config.text == "all",
            None if self.amplification is None else self.amplification.exp(),
            torch.cat(frames, 1),
        )

    def _timesteps(self, mask: Tensor, levels: Tensor | None) -> Tensor | None:
        if self.config.timestep == "same":
            return None
        # one timestep for all context tokens, as they are of one noise level
        if self.config.timestep == "zero" or levels is None:
            return torch.zeros(len(mask), 1, device=mask.device)
        return 1000 * levels[:, None]

    def _route(self, kernel: Kernel) -> tuple[tuple[int, int, int], Kernel]:
        """Box of the average pool before a convolution, and the convolution's kernel."""
        if self.config.projection == "shared":
            return (kernel.t, kernel.h // BASE.h, kernel.w // BASE.w), BASE
        # k16 has no weights of its own: k8 at half the resolution
        return ((2, 2, 2), K8) if kernel == K16 else ((1, 1, 1), kernel)

    def _project(self, level: ContextLevel) -> Tensor:
        """Tokens ``b n d``."""
        latents = level.latents
        items, frames = len(latents), latents.shape[2]
        if level.tail == "ta":  # every frame alone
            latents = latents.movedim(2, 1).flatten(0, 1).unsqueeze(2)
        box, kernel = self._route(level.kernel)
        # before the pool: it would leave out rows and columns that do not fill it
        latents = pad_to_kernel(latents, level.kernel)
        if box != (1, 1, 1):
            latents = F.avg_pool3d(latents, box)
        projection = self.projections[projection_name(kernel)]
        assert isinstance(projection, nn.Conv3d)
        tokens = patchify(projection, latents)
        if level.tail == "ta":
            tokens = tokens.unflatten(0, (items, frames)).flatten(1, 2)
        return tokens

    def _axes(self, level: ContextLevel) -> tuple[Axis, Axis, Axis]:
        """Time, rows and columns: every pool that latents go through, once more over positions."""
        rows, columns = level.size or level.latents.shape[-2:]
        kernel = level.kernel
        height, width = view_axes(rows, columns, level.times.device)
        if level.tail == "ta":
            # a pooled latent covers 32 latents, which are 16 base tokens (or the whole of a smaller frame)
            half = TAIL_POOL // BASE.h
            y = Axis(height, (min(half, height.shape[1]), kernel.h))
            x = Axis(width, (min(half, width.shape[1]), kernel.w))
            return Axis(level.times), y, x
        y, x = Axis(height, (kernel.h // BASE.h,)), Axis(width, (kernel.w // BASE.w,))
        if level.tail is None:
            return Axis(level.times, (kernel.t,)), y, x
        weights = level.known / level.known.sum(1, keepdim=True).clamp_min(1)
        return Axis(level.times, weights=weights), y, x

    def _known_tokens(self, level: ContextLevel) -> Tensor:
        """Bool ``b n``: whether any frame of a token is known."""
        rows, columns = level.latents.shape[-2:]
        per_frame = -(-rows // level.kernel.h) * -(-columns // level.kernel.w)
        if level.tail == "tc":
            known = level.known.any(1, keepdim=True)
        elif level.tail == "ta":
            known = level.known
        else:
            missing = -level.known.shape[1] % level.kernel.t
            known = F.pad(level.known, (0, missing)).unflatten(1, (-1, level.kernel.t)).any(2)
        return known.repeat_interleave(per_frame, 1)


def projection_name(kernel: Kernel) -> str:
    """Name of a kernel's projection in a state dict, such as ``1x2x2``."""
    return f"{kernel.t}x{kernel.h}x{kernel.w}"
