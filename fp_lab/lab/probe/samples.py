"""Training samples of the probe: renders of the synthetic world with known damage, and their truth."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Generator, Tensor

from fp_data.worlds import COLOURS, SHAPES, TEXTURES
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.probe.renders import damage_objects, damage_pictures, rendered, through_codec

FIRST_SEED = 10_000
"""First training seed; lower seeds are for evaluation and never rendered in training."""


@dataclass(frozen=True, eq=False)
class Samples:
    """n frames with their ground truth. A weight of 0 marks unknown values.

    Attributes:
        frames: rendered frames, float32 ``(n, 3, 64, 64)`` in [0, 1].
        masks: visible part of the object, ``(n, 64, 64)``.
        visible: visible share of the object, ``(n,)``.
        well_formed: overlap of the object's outline with the undamaged one, both centred, ``(n,)``.
        outlined: weight of `well_formed`.
        named: weight of shape, colour and texture.
        shape: index of the shape among the world's, ``(n,)``.
        colour: index of the colour among the world's, ``(n,)``.
        texture: index of the texture among the world's, ``(n,)``.
        rgb: first colour of the object as it appears in the frame, ``(n, 3)``.
        clarity: kept gradient energy and freedom from noise, ``(n, 2)`` in [0, 1].
        centres: centres of gravity of the object, (x, y) in pixels, ``(n, 2)``.
        centred: weight of `centres`.
    """

    frames: Tensor
    masks: Tensor
    visible: Tensor
    well_formed: Tensor
    outlined: Tensor
    named: Tensor
    shape: Tensor
    colour: Tensor
    texture: Tensor
    rgb: Tensor
    clarity: Tensor
    centres: Tensor
    centred: Tensor


def draw_samples(seed: int, index: int, count: int, codec: Codec) -> Samples:
    """Draw the batch of an index; it depends on the arguments alone.

    Args:
        seed: seed of the training.
        index: index of the batch.
        count: number of frames of the batch, a multiple of 16.
        codec: codec of the round trip that a part of the frames takes, with and without damaged latents.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, index]))
    generator = Generator().manual_seed(int(random.integers(2**62)))
    seeds = random.integers(FIRST_SEED, 2**62, size=count).tolist()
    return make_samples(seeds, generator, codec)


def make_samples(seeds: list[int], generator: Generator, codec: Codec) -> Samples:
    """Render the scenes of seeds, a fixed share of them with each kind of damage."""
    hidden = len(seeds) // 16
    draft, scenes = rendered(seeds, hidden)
    damage_objects(draft, generator)
    sharp = draft.frames
    through_codec(draft, generator, codec, hidden)
    rgb = torch.tensor([scene.sprites[0].rgb for scene in scenes])
    behind = draft.backgrounds.mean((2, 3))
    rgb = behind.lerp(rgb, draft.shows[:, None])
    pictures, masks, rgb, clarity = damage_pictures(draft, sharp, rgb, generator)
    return Samples(
        frames=pictures,
        masks=masks[:, 0],
        visible=draft.visible,
        well_formed=draft.well_formed,
        outlined=draft.outlined,
        named=draft.named,
        shape=_indices([SHAPES.index(scene.sprites[0].shape) for scene in scenes]),
        colour=_indices([list(COLOURS).index(scene.sprites[0].colour) for scene in scenes]),
        texture=_indices([TEXTURES.index(scene.sprites[0].texture) for scene in scenes]),
        rgb=rgb,
        clarity=clarity,
        centres=draft.centres,
        centred=draft.centred,
    )


def _indices(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def together(parts: list[Samples]) -> Samples:
    """Concatenate several batches."""
    return Samples(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Samples)})
