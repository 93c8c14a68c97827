"""fp_lab's own backbones and those of plugins, trained from a base of this format or from random weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from fp_data.buckets import Bucket
from fp_data.worlds import VOCABULARY
from fp_lab.backbones.protocol import BACKBONES
from fp_lab.lab.config import ExperimentConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.packer import kernels_of


@dataclass(frozen=True)
class OwnModels:
    """See `fp_lab.lab.model_families.family.ModelFamily`."""

    config: ExperimentConfig
    embeds_captions: ClassVar[bool] = True

    def encoders(self) -> None:
        """Return None: captions are read word by word, by the backbone."""

    def starting_model(self, channels: int, codebook: Codebook | None = None) -> FramePackModel:
        """Load a copy of the base; without one, build a model of the size in the config."""
        config = self.config
        kernels = kernels_of(config.parsed_recipe)
        if config.model.base is not None:
            base = FramePackModel.load(config.model.base)
            return base.with_kernels(kernels, config.context, codebook)
        words = config.model.backbone.words
        words = words if words.words else replace(words, words=VOCABULARY)
        backbone = replace(config.model.backbone, channels=channels, words=words)
        kind = BACKBONES.choose("model.architecture", config.model.architecture)
        return FramePackModel(kind(backbone), kernels, config.objective.flow.output, config.context, codebook)

    def released_model(self) -> None:
        """Return None: a base has projections for the kernels that it was trained with."""

    def sizes(self) -> tuple[Bucket, ...]:
        """Return the size of the config's videos."""
        return (Bucket(self.config.data.size, self.config.data.size),)

    def stand_in(self, folder: Path) -> ExperimentConfig:
        """Return the config itself: these models are small."""
        return self.config
