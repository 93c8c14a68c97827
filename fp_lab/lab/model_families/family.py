"""What the lab asks of a family of models; each arm is of one."""

from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from fp_data.buckets import Bucket
from fp_lab.conditions.encoder_files import EncoderFiles
from fp_lab.lab.config import ExperimentConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook


@runtime_checkable
class ModelFamily(Protocol):
    """Models of one format, for the settings of an arm.

    What arms of a family cost is `fp_lab.lab.planning.flops.ArmCosts`: training knows nothing of planning.

    Attributes:
        embeds_captions: whether backbones embed captions themselves; else text encoders do.
    """

    embeds_captions: ClassVar[bool]

    def encoders(self) -> EncoderFiles | None:
        """Find the text and image encoders; None where the backbone embeds captions itself.

        Raises:
            ValueError: the encoders are missing.
        """

    def starting_model(self, channels: int, codebook: Codebook | None = None) -> FramePackModel:
        """Build the model that training starts from, with the projections of the arm's recipe.

        Args:
            channels: number of channels of the codec's latents, for a model without a base.
            codebook: codebook of a discrete history.

        Raises:
            ValueError: the base is missing.
        """

    def released_model(self) -> FramePackModel | None:
        """Load the base to sample from without any training; None where its projections fit no recipe yet.

        Raises:
            ValueError: the base is missing.
        """

    def sizes(self) -> tuple[Bucket, ...]:
        """Sizes that a base was trained on, the most frequent one first; empty where they are unknown."""

    def stand_in(self, folder: Path) -> ExperimentConfig:
        """Return settings with a model that is built in a moment in place of a large one.

        It is of the same class and reads the same inputs, with few and narrow blocks and random weights.

        Args:
            folder: where its weights may be written, in use as long as the settings.

        Raises:
            ValueError: the config of the base is not on this machine; nothing is downloaded.
        """
