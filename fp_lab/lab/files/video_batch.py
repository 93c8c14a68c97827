"""Batches of videos on disk: uint8 frames and their metadata in one safetensors file."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fp_data.atomic import replacing
from fp_data.damaged import naming_damage, parse_json

GIVEN = -1
"""Mark in `Videos.order` of a given frame, which no section generated."""
HISTORIES = ("own", "true")
"""Histories that an arm generates from: its own frames, or the true ones."""
_ENTRY = "videos"


@dataclass(frozen=True, eq=False)
class Videos:
    """Videos of one length.

    Attributes:
        frames: RGB frames, uint8 ``b t h w c``.
        captions: one caption per video.
        seeds: one seed per video, which decided the scene or clip, and the noise.
        order: index of the section that generated each frame, in generation order; `GIVEN` for given frames.
        fps: frames per second.
        contents: sha256 of the true video of each, which identifies videos without caption: seeds draw other
            videos from other data. Empty where there is none.
        own_scenes: whether videos that share a caption show different scenes, as those of a world do, whose
            captions may tell little or nothing; windows of clips with one caption may be of one clip.
    """

    frames: Tensor
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    order: tuple[int, ...]
    fps: float
    contents: tuple[str, ...] = ()
    own_scenes: bool = False

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        count, length = self.frames.shape[:2]
        if not count == len(self.captions) == len(self.seeds) or length != len(self.order):
            raise ValueError(
                f"got {count} videos of {length} frames with {len(self.captions)} captions, "
                f"{len(self.seeds)} seeds and {len(self.order)} entries of order, expected as many"
            )

    @property
    def prompts(self) -> tuple[str, ...]:
        """Prompt of each video: its caption, or the content of the true video.

        Where scenes share a caption, the content is appended.
        """
        if not self.contents:
            return self.captions
        shared = {c for c, count in Counter(self.captions).items() if count > 1} if self.own_scenes else set()
        return tuple(
            f"{caption} sha256:{content[:16]}".lstrip() if not caption or caption in shared else caption
            for caption, content in zip(self.captions, self.contents, strict=True)
        )

    @property
    def length(self) -> int:
        """Frames per video."""
        return len(self.order)

    @cached_property
    def sections(self) -> tuple[tuple[int, ...], ...]:
        """Frame indices of each section, in generation order; given frames belong to none."""
        made = sorted({index for index in self.order if index != GIVEN})
        return tuple(tuple(f for f, index in enumerate(self.order) if index == section) for section in made)

    @cached_property
    def generated(self) -> tuple[int, ...]:
        """Frame indices in generation order, without given frames."""
        return tuple(frame for section in self.sections for frame in section)

    def save(self, path: Path) -> None:
        """Write to a safetensors file, in one step; the same videos give the same bytes."""
        known = {"captions": self.captions, "seeds": self.seeds, "order": self.order, "fps": self.fps}
        known |= {"contents": self.contents} if self.contents else {}
        known |= {"own_scenes": True} if self.own_scenes else {}
        with replacing(path) as unfinished:
            # safetensors writes several entries in any order
            save_file({"frames": self.frames.contiguous()}, unfinished, {_ENTRY: json.dumps(known)})

    @classmethod
    def load(cls, path: Path) -> "Videos":
        """Read a file written by `save`.

        Raises:
            ValueError: there is no such file, or it is damaged.
        """
        if not path.is_file():
            raise ValueError(f"no videos at {path}: generate them first with fp-lab generate or fp-lab grid")
        advice = "the command that made it does so again"
        with naming_damage(path, advice), safe_open(path, framework="pt") as file:
            known = parse_json((file.metadata() or {})[_ENTRY])
            return cls(
                frames=file.get_tensor("frames"),
                captions=tuple(known["captions"]),
                seeds=tuple(known["seeds"]),
                order=tuple(known["order"]),
                fps=float(known["fps"]),
                contents=tuple(known.get("contents", ())),
                own_scenes=known.get("own_scenes", False),
            )


def contents_of(frames: Tensor) -> tuple[str, ...]:
    """sha256 of each video ``t h w c`` of a batch: its frames and their size."""
    return tuple(
        hashlib.sha256(f"{tuple(video.shape)}".encode() + video.contiguous().numpy().tobytes()).hexdigest()
        for video in frames
    )
