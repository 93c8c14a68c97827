"""How the history becomes a context: every option beside the ablation name (standard library only).

Training and sampling read the same `ContextConfig`, which is stored with the model.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from fp_lab.registry import Registry

Projection = Literal["independent", "shared"]
Initialisation = Literal["interpolated", "random"]
PhasePooling = Literal["averaged", "midpoint"]
Positions = Literal["absolute", "relative"]
Padding = Literal["true_distance", "released"]
Missing = Literal["zero", "drop", "mask"]
Timestep = Literal["same", "zero", "level"]
TextReaders = Literal["all", "noisy"]
Attention = Literal["full", "isolated", "block_causal"]

# what they hold needs torch; their built-in names are known here, as settings are checked without it
IMPORTANCES: Registry[Any] = Registry("importance", ("time", "similarity", "hybrid"))
"""Importance of frames by name, see `fp_lab.packing.importance.Importance`."""
PACKERS: Registry[Any] = Registry("packer", ("projections",))
"""Subclasses of `fp_lab.packing.packer.ContextPacker` by name."""


@dataclass(frozen=True)
class ImportanceConfig:
    """Which known frames are the important ones (FramePack paper, section 3.1).

    Attributes:
        kind: by ``time`` (the nearest), by ``similarity`` (mean cosine of latent pixels with the known frame
            nearest to the section), ``hybrid``: the similarity plus `time_weight` * exp(-(t_i - t_X)^2), or
            what a plugin registers.
        time_weight: lambda_time of the hybrid.
        frames_per_second: latent frames per second; the hybrid's times are seconds.
    """

    kind: str = "time"
    time_weight: float = 1.0
    frames_per_second: float = 7.5

    def __post_init__(self) -> None:
        """Refuse an unknown kind, and a weight or rate without meaning."""
        IMPORTANCES.require("context.importance.kind", self.kind)
        if self.time_weight < 0 or self.frames_per_second <= 0:
            raise ValueError(
                f"importance: got time_weight {self.time_weight} and frames_per_second "
                f"{self.frames_per_second}, expected at least 0 and above 0"
            )


@dataclass(frozen=True)
class ContextConfig:
    """Options of the packed context.

    Attributes:
        packer: ``projections``, or a packer that a plugin registers.
        projection: ``independent`` patchify parameters per kernel, or one ``shared`` base projection behind
            an average pool (an ablation).
        init: of independent projections: ``interpolated`` from the pretrained one, or ``random``.
        phases: of pooled tokens: ``averaged`` cos and sin (not unit phasors), or unit phasors at the
            ``midpoint`` of the token's box.
        positions: frame indices: ``absolute`` ones of the video, or ``relative``: context and section side by
            side in video time, always the same (the released F1 model).
        padding: distance from the first frame to an inverted section: the ``true_distance``, or as in
            ``released`` code, which counts 3, 2, .., 2, 1, 0 sections in videos of more than four.
        missing: history that does not exist yet is ``zero`` latents at its virtual time, ``drop``-ped, or
            zero latents that nothing attends to (``mask``).
        start_in_history: frames kept by an outermost run may be packed again by the run beside the section.
        timestep: what the model is told of context tokens: the ``same`` as of noisy ones, ``zero``, or the
            noise ``level`` they were given.
        text: who attends to the caption: ``all`` tokens, or the ``noisy`` ones only.
        amplify: learned amplification of the context's keys, per block and head.
        attention: ``full``; ``isolated``: the context never attends to the noisy section, so its keys and
            values are the same at every denoising step; ``block_causal``: blocks of a section's length that
            attend to themselves and to earlier ones (one model over a sliding window, nothing packed).
        importance: of known frames.
    """

    packer: str = "projections"
    projection: Projection = "independent"
    init: Initialisation = "interpolated"
    phases: PhasePooling = "averaged"
    positions: Positions = "absolute"
    padding: Padding = "true_distance"
    missing: Missing = "drop"
    start_in_history: bool = False
    timestep: Timestep = "same"
    text: TextReaders = "all"
    amplify: bool = False
    attention: Attention = "full"
    importance: ImportanceConfig = field(default_factory=ImportanceConfig)

    def __post_init__(self) -> None:
        """Refuse an unknown packer, and options that contradict each other."""
        PACKERS.require("context.packer", self.packer)
        if self.attention == "isolated" and self.timestep != "zero":
            raise ValueError(
                f"context.timestep: got {self.timestep!r} for an isolated context, expected 'zero': its keys "
                "must not change between denoising steps"
            )
        if self.padding == "released" and self.positions == "relative":
            raise ValueError(
                "context.padding: got 'released' with relative positions, expected 'true_distance': relative "
                "positions have no distance to the first frame"
            )
