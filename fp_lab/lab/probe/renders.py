"""Damaged renders as training samples: damage in several steps, with ground truth."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from fp_data.worlds import SceneAttributes, WorldConfig, render
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.probe.damage import (
    bites,
    blocks,
    blur,
    cut_out,
    dents,
    log_uniform,
    moved,
    scaling,
    smooth_noise,
    tint,
    uniform,
    white_noise,
    with_object,
)
from fp_metrics.functional.colour import luma
from fp_metrics.functional.fidelity import energy_agreement
from fp_metrics.functional.objects import centred, sight, soft_iou
from fp_metrics.functional.sharpness import NORMAL_MEDIAN, tenengrad

KINDS = (
    "dented", "dented more", "squashed", "shrunken", "moved",
    "broken", "broken more", "merged", "missing", "faded",
)  # fmt: skip
"""Damage to the object in the first ten sixteenths of a batch; in the last one a pillar hides it."""
WORLD = WorldConfig(frames=1)
NOISE_HALF = 0.05
"""Standard deviation of noise that halves the freedom from noise, as in ``world/render-sharpness``."""
TRIANGLE_CENTRE = 0.267
"""Distance of a triangle's centre of gravity below its centre, in radii: a third of its height up."""


@dataclass
class Draft:
    """Frames and masks with a channel axis, and their ground truth; names as in `Samples`.

    Attributes:
        backgrounds: frames without the object.
        shows: opacity of the object, ``(n,)``.
    """

    frames: Tensor
    backgrounds: Tensor
    masks: Tensor
    centres: Tensor
    visible: Tensor
    well_formed: Tensor
    outlined: Tensor
    named: Tensor
    shows: Tensor
    centred: Tensor


def rendered(seeds: list[int], hidden: int) -> tuple[Draft, tuple[SceneAttributes, ...]]:
    """Render undamaged frames, the object of the last `hidden` ones behind a pillar."""
    plain = render(WORLD, seeds)
    frames, backgrounds, masks = (
        _pictures(plain.frames[:, 0]), _pictures(plain.backgrounds[:, 0]), plain.masks[:, 0].float()
    )  # fmt: skip
    visible = torch.ones(len(seeds))
    if hidden:
        behind = render(replace(WORLD, variant="occlusion"), seeds[-hidden:])
        whole = masks[-hidden:].sum((1, 2, 3))
        frames[-hidden:], backgrounds[-hidden:] = (
            _pictures(behind.frames[:, 0]), _pictures(behind.backgrounds[:, 0])
        )  # fmt: skip
        masks[-hidden:] = behind.masks[:, 0].float()
        visible[-hidden:] = masks[-hidden:].sum((1, 2, 3)) / whole
    sprites = [scene.sprites[0] for scene in plain.scenes]
    centres = plain.positions[:, 0, 0].clone()
    centres[:, 1] += TRIANGLE_CENTRE * torch.tensor([s.radius * (s.shape == "triangle") for s in sprites])
    draft = Draft(
        frames, backgrounds, masks, centres, visible,
        well_formed=torch.ones(len(seeds)), outlined=(visible > 0.95).float(), named=(visible > 0.5).float(),
        shows=torch.ones(len(seeds)), centred=(visible == 1).float(),
    )  # fmt: skip
    return draft, plain.scenes


def damage_objects(draft: Draft, generator: Generator) -> None:
    """Damage about half of the objects, a sixteenth of the batch in each of `KINDS`."""
    true_masks, share, size = draft.masks.clone(), len(draft.frames) // 16, draft.frames.shape[-1]
    at = {kind: slice(index * share, (index + 1) * share) for index, kind in enumerate(KINDS)}
    for kind in ("dented", "dented more"):
        _move(draft, at[kind], dents(generator, share, size))
    narrow = torch.stack((uniform(generator, share, 0.4, 0.8), uniform(generator, share, 0.95, 1.2)), 1)
    narrow = torch.where(torch.rand(share, 1, generator=generator) < 0.5, narrow, narrow.flip(1))
    _move(draft, at["squashed"], scaling(draft.centres[at["squashed"]], narrow, size))
    small = uniform(generator, share, 0.35, 0.7)[:, None].expand(-1, 2)
    _move(draft, at["shrunken"], scaling(draft.centres[at["shrunken"]], small, size))
    # moved as a whole, so that being pasted is no sign of damage
    step = uniform(generator, 2 * share, -1.5, 1.5).reshape(share, 2)
    _move(draft, at["moved"], step[:, :, None, None].expand(-1, -1, size, size))
    for kind in ("broken", "broken more"):
        gone = bites(generator, draft.masks[at[kind]])
        draft.frames[at[kind]] = draft.frames[at[kind]].lerp(draft.backgrounds[at[kind]], gone)
        draft.masks[at[kind]] *= gone < 0.5
    _merge(draft, at["merged"], generator)
    draft.shows[at["missing"]] = 0
    draft.shows[at["faded"]] = uniform(generator, share, 0.1, 0.9)
    opacity = draft.shows[:, None, None, None]
    draft.frames = torch.where(opacity < 1, draft.backgrounds.lerp(draft.frames, opacity), draft.frames)
    faint = draft.shows < 0.2
    draft.masks[faint] = 0
    draft.centred[: at["merged"].stop] = 0
    draft.centred[at["moved"]] = 1
    draft.centres[at["moved"]] -= step
    changed = slice(0, len(KINDS) * share)
    for slot in range(len(KINDS) * share):
        draft.well_formed[slot] = _overlap(draft.masks[slot, 0], true_masks[slot, 0])
    areas, true_areas = (masks[changed].sum((1, 2, 3)) for masks in (draft.masks, true_masks))
    draft.visible[changed] = (areas / true_areas).clamp(max=1)
    draft.named[changed] = (draft.well_formed[changed] > 0.6).float()
    for weight in (draft.outlined, draft.named, draft.centred):
        weight[faint] = 0


def _move(draft: Draft, at: slice, shift: Tensor) -> None:
    draft.frames[at], draft.masks[at] = with_object(
        draft.frames[at], draft.backgrounds[at], draft.masks[at], shift
    )


def _merge(draft: Draft, at: slice, generator: Generator) -> None:
    """Put a second object, that of another frame, half over the first."""
    count = at.stop - at.start
    others = slice(at.stop, at.stop + count)
    angle = uniform(generator, count, 0, 2 * math.pi)
    away = uniform(generator, count, 8, 20)[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
    shift = (draft.centres[others] - draft.centres[at] - away)[:, :, None, None]
    shift = shift.expand(-1, -1, *draft.frames.shape[-2:])
    cover = moved(cut_out(draft.masks[others]), shift)
    draft.frames[at] = draft.frames[at].lerp(moved(draft.frames[others], shift), cover)
    draft.masks[at] = torch.maximum(draft.masks[at], (moved(draft.masks[others], shift) > 0.5).float())


def _overlap(mask: Tensor, true: Tensor) -> float:
    """Overlap of two outlines with their centres of gravity aligned, in [0, 1]."""
    if not mask.any() or not true.any():
        return 0.0
    return soft_iou(*(centred(outline, _centre(outline)) for outline in (mask, true)))


def _centre(mask: Tensor) -> tuple[float, float]:
    total = mask.sum()
    x, y = torch.arange(mask.shape[1]) + 0.0, torch.arange(mask.shape[0]) + 0.0
    return float((mask.sum(0) * x).sum() / total), float((mask.sum(1) * y).sum() / total)


@torch.no_grad()
def through_codec(draft: Draft, generator: Generator, codec: Codec, hidden: int) -> None:
    """Pass an eighth of the frames through the codec unchanged, and an eighth with damaged latents.

    The result of damaged latents is not known beforehand: the object is then located as by the world's
    estimators, against the known background.
    """
    last = len(draft.frames) - hidden
    share = len(draft.frames) // 8
    damaged, kept = slice(last - share, last), slice(last - 3 * share // 2, last - share)
    also = slice(0, share // 2)
    chosen = torch.cat([torch.arange(last)[part] for part in (also, kept, damaged)])
    latents = codec.encode_raw(draft.frames[chosen] * 2 - 1)
    scale = codec.latent_std[:, None, None]
    mine = latents[-share:]
    strength = uniform(generator, share, 0.05, 0.7)[:, None, None, None]
    noise = torch.randn(mine.shape, generator=generator)
    noise[::2] = smooth_noise(generator, len(noise[::2]), mine.shape[1], 4, mine.shape[-1])
    steps = torch.randint(-1, 2, (share, 2), generator=generator).tolist()
    beside = torch.stack([torch.roll(z, step, (1, 2)) for z, step in zip(mine, steps, strict=True)])
    ghost = uniform(generator, share, 0.0, 0.5)[:, None, None, None]
    latents[-share:] = mine.lerp(beside, ghost) + strength * noise * scale
    draft.frames, true_masks = draft.frames.clone(), draft.masks.clone()
    draft.frames[chosen] = (codec.decode_raw(latents) / 2 + 0.5).clamp(0, 1)
    for slot in range(last)[damaged]:
        seen = sight(draft.frames[slot], draft.backgrounds[slot])
        draft.masks[slot, 0] = seen.mask.float()
        draft.well_formed[slot] = _overlap(draft.masks[slot, 0], true_masks[slot, 0])
        draft.visible[slot] = min(1.0, seen.area / float(true_masks[slot].sum()))
    draft.centred[damaged] = 0
    draft.outlined[damaged] = (draft.visible[damaged] > 0.1).float()
    draft.named[damaged] = (draft.well_formed[damaged] > 0.6).float()


def damage_pictures(
    draft: Draft, sharp: Tensor, rgb: Tensor, generator: Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Apply blur, blocks, tints and noise to whole pictures, each to some of them; a third stay clear.

    Returns:
        Pictures, masks, the objects' first colours, and the remaining clarity against the sharp pictures; a
        tint does not reduce it, as a washed-out picture looks like a scene of low contrast.
    """
    count = len(draft.frames)

    def sometimes(share: float, values: Tensor, otherwise: float = 0.0) -> Tensor:
        chosen = torch.rand(count, generator=generator) < share
        return torch.where(chosen, values, torch.full_like(values, otherwise))

    sigmas = sometimes(0.3, log_uniform(generator, count, 0.4, 2.5))
    coarse = sometimes(0.1, uniform(generator, count, 0.2, 1.0))
    gains = sometimes(0.1, uniform(generator, count, 0.4, 1.1), 1.0)
    casts = sometimes(0.1, torch.ones(count))[:, None] * 0.1 * torch.randn(count, 3, generator=generator)
    grain = sometimes(0.3, log_uniform(generator, count, 0.005, 0.1))
    pictures = tint(blocks(blur(draft.frames, sigmas), coarse), gains, casts)
    pictures = white_noise(pictures, grain, generator).clamp(0, 1)
    masks = (blur(draft.masks, sigmas) > 0.5).float()
    for slot in sigmas.nonzero()[:, 0].tolist():  # blur rounds corners off
        draft.well_formed[slot] *= _overlap(masks[slot, 0], draft.masks[slot, 0])
    draft.named = draft.named * ((sigmas < 2) & (coarse < 0.7))
    clarity = known_clarity(pictures, tint(sharp, gains, casts).clamp(0, 1))
    return pictures, masks, 0.5 + (rgb - 0.5) * gains[:, None] + casts, clarity


def _pictures(frames: Tensor) -> Tensor:
    return frames.movedim(-1, 1).float() / 255


def known_clarity(pictures: Tensor, sharp: Tensor) -> Tensor:
    """Return kept gradient energy and freedom from noise against the sharp pictures: ``(n, 2)`` in [0, 1].

    The two factors of ``world/render-sharpness``.
    """
    grey, true = luma(pictures), luma(sharp)
    error = (grey - true).flatten(1)
    spread = (error - error.median(1, keepdim=True).values).abs().median(1).values / NORMAL_MEDIAN
    kept = energy_agreement(tenengrad(grey), tenengrad(true))
    return torch.stack((kept, NOISE_HALF / (NOISE_HALF + spread)), 1)
