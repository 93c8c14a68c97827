"""Experiment configs: validated when loaded, frozen afterwards. Only this package uses OmegaConf.

An experiment file is a small difference from another one (its ``base:``). The chain of files and the
``key=value`` overrides are merged in that order into an `ExperimentConfig`.
"""

from fp_lab.lab.config.conversion import value_of
from fp_lab.lab.config.experiment import (
    CARRIED,
    FIRST_TRAINING_SEED,
    CodecSource,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelSource,
    TrackConfig,
    TrainingConfig,
)
from fp_lab.lab.config.layers import (
    Layer,
    dotted_layer,
    flatten,
    override_layer,
    plain_settings,
    read_layers,
    with_origin,
)
from fp_lab.lab.config.load import fill_of_order, load, load_settings, merge, to_yaml
from fp_lab.lab.config.yaml_files import Document, read_yaml, yaml_of

__all__ = [
    "CARRIED",
    "FIRST_TRAINING_SEED",
    "CodecSource",
    "DataConfig",
    "Document",
    "EvaluationConfig",
    "ExperimentConfig",
    "Layer",
    "ModelSource",
    "TrackConfig",
    "TrainingConfig",
    "dotted_layer",
    "fill_of_order",
    "flatten",
    "load",
    "load_settings",
    "merge",
    "override_layer",
    "plain_settings",
    "read_layers",
    "read_yaml",
    "to_yaml",
    "value_of",
    "with_origin",
    "yaml_of",
]
