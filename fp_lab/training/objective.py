"""Training objective of a model."""

from dataclasses import dataclass, field

from fp_lab.checks.later import acts_by_chance
from fp_lab.checks.ranges import check_ranges
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.matching import FlowConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """Training objective.

    Attributes:
        flow: times and output.
        caption_dropout: share of captions replaced by the empty one, for guidance to start from.
        distilled_guidance: scale that a model with distilled guidance (HunyuanVideo, FramePack) is told: 1 is
            the plain flow, which is the target here. What it is told in sampling is a setting of its own.
        given: how many latent frames videos are taken to begin with, each number as often: 0 teaches text to
            video, 1 image to video, more the extension of clips.
        history: what is done to the history.
    """

    flow: FlowConfig = field(default_factory=FlowConfig)
    caption_dropout: float = field(default=0.1, metadata=acts_by_chance())
    distilled_guidance: float = 1.0
    given: tuple[int, ...] = (1,)
    history: HistoryConfig = field(default_factory=HistoryConfig)

    def __post_init__(self) -> None:
        """Refuse shares outside [0, 1] and videos that begin with fewer than no frames."""
        check_ranges(
            "objective", self, caption_dropout="[0, 1]", distilled_guidance="[0, inf)", given="[0, inf)"
        )
        if not self.given:
            raise ValueError("objective.given: got [], expected numbers of frames from 0 on")
