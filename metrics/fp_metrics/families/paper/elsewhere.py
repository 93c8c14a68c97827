"""Scores of the paper that VBench's own code measures: undefined here, and they say how to bring them in.

Their code or weights may not be used for everything, or come without a licence or a checksum; nothing cheaper
is passed off as them.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from fp_metrics.estimator import Estimator, Score


class Elsewhere(Estimator):
    """A score that another program measures: always NaN here.

    Attributes:
        needs: what is missing, and why it is not here.
        key: VBench's name of the score, as its JSON has it.
    """

    family: ClassVar[str] = "paper"
    needs: ClassVar[str]
    key: ClassVar[str]

    @classmethod
    def unavailable(cls) -> str | None:
        """What it needs, and how its figures come in."""
        return (
            f"{cls.name} needs {cls.needs}: run VBench itself on these videos and bring its {cls.key!r} in "
            "with `fp-lab evaluate ... --vbench-json FILE`"
        )

    def measure(self, window: Sequence[Any], position: int) -> float:
        """NaN."""
        return float("nan")

    def undefined(self) -> str:
        """What it needs, and how its figures come in."""
        return str(self.unavailable())


class AmtMotionSmoothness(Elsewhere):
    """VBench's motion smoothness: how well AMT-S predicts every second frame from its neighbours."""

    score: ClassVar[Score] = "motion"
    name: ClassVar[str] = "paper/amt-motion-smoothness"
    needs: ClassVar[str] = "AMT-S, which is licensed for non-commercial use only (CC BY-NC 4.0)"
    key: ClassVar[str] = "motion_smoothness"


class ViclipConsistency(Elsewhere):
    """VBench's overall consistency: the cosine of video and caption in ViCLIP (which reads 32 tokens)."""

    score: ClassVar[Score] = "semantic"
    name: ClassVar[str] = "paper/viclip-overall-consistency"
    unit: ClassVar[str] = "cosine, [-1, 1]"
    needs: ClassVar[str] = (
        "ViCLIP (InternVid-10M-FLT), whose weights VBench takes from a file host without a checksum"
    )
    key: ClassVar[str] = "overall_consistency"


class Vbench2Anatomy(Elsewhere):
    """VBench-2.0's human anatomy: one minus the share of frames with people that have an abnormal part."""

    score: ClassVar[Score] = "anatomy"
    name: ClassVar[str] = "paper/vbench2-human-anatomy"
    needs: ClassVar[str] = (
        "YOLO-World (GPL-3.0) and three ViT-B classifiers that lie on a file host without licence or checksum"
    )
    key: ClassVar[str] = "Human_Anatomy"


class ArcFaceIdentity(Elsewhere):
    """VBench-2.0's human identity: the cosine of ArcFace features with those of the first frame."""

    score: ClassVar[Score] = "identity"
    name: ClassVar[str] = "paper/arcface-human-identity"
    unit: ClassVar[str] = "cosine, [-1, 1]"
    needs: ClassVar[str] = (
        "RetinaFace, and ArcFace weights that lie on a file host without licence or checksum"
    )
    key: ClassVar[str] = "Human_Identity"


ELSEWHERE: tuple[type[Elsewhere], ...] = (
    AmtMotionSmoothness,
    ViclipConsistency,
    Vbench2Anatomy,
    ArcFaceIdentity,
)
