"""Transformers of diffusers, on disk or on the hub, with the encoders of their pipelines."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from fp_data.buckets import Bucket
from fp_lab.backbones.protocol import TRANSFORMER
from fp_lab.conditions.encoder_files import EncoderFiles, find_encoders
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.runtime.quiet import quiet_loading
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.packer import kernels_of

_SMALL = {
    "num_attention_heads": 2,
    "num_layers": 1,
    "num_single_layers": 1,
    "num_refiner_layers": 1,
    "ffn_dim": 256,
}
"""Sizes of a stand-in; all others are those of the transformer that it stands for."""


@dataclass(frozen=True)
class DiffusersModels:
    """See `fp_lab.lab.model_families.family.ModelFamily`."""

    config: ExperimentConfig
    embeds_captions: ClassVar[bool] = False

    @property
    def base(self) -> str:
        """Folder or hub id of the transformer, or of its pipeline."""
        assert self.config.model.base is not None
        return self.config.model.base

    def encoders(self) -> EncoderFiles:
        """Find the encoders of `model.conditions`, or of the base."""
        return find_encoders(self.config.model.conditions or self.base, self.config.model.images)

    def starting_model(self, channels: int, codebook: Codebook | None = None) -> FramePackModel:
        """Load the base: frozen weights in the data type of the config, trained ones in float32."""
        config, settings = self.config, self.config.model
        dtype = getattr(torch, settings.dtype) if settings.lora is not None else torch.float32
        with quiet_loading():
            model = FramePackModel.from_transformer(
                self.base,
                kernels_of(config.parsed_recipe),
                config.context,
                codebook,
                settings.lora,
                torch_dtype=dtype,
            )
        if settings.checkpointing:
            model.backbone.transformer.enable_gradient_checkpointing()
        return model

    def released_model(self) -> FramePackModel:
        """Load the base in the data type of the config; missing projections are interpolated."""
        with quiet_loading():
            return FramePackModel.from_transformer(
                self.base,
                kernels_of(self.config.parsed_recipe),
                self.config.context,
                torch_dtype=getattr(torch, self.config.model.dtype),
            )

    def sizes(self) -> tuple[Bucket, ...]:
        """Return none: releases do not say them."""
        return ()

    def stand_in(self, folder: Path) -> ExperimentConfig:
        """Write a small random transformer of the base's class; return the config with it as base."""
        from fp_lab.backbones.diffusers.families import new_transformer, stored_settings  # slow to import

        name, settings = stored_settings(self.base)
        settings |= {key: min(size, settings[key]) for key, size in _SMALL.items() if settings.get(key)}
        if settings.get("added_kv_proj_dim"):  # Wan's for images, which is its width
            settings["added_kv_proj_dim"] = settings["num_attention_heads"] * settings["attention_head_dim"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = new_transformer(name, settings)
        backbone.transformer.save_pretrained(folder / TRANSFORMER)
        return replace(self.config, model=replace(self.config.model, base=str(folder)))
