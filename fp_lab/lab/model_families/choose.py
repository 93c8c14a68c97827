"""Choice of the family of models, by the format of a base: the only place that asks which one it is."""

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.weights import is_own
from fp_lab.lab.model_families.diffusers import DiffusersModels
from fp_lab.lab.model_families.family import ModelFamily
from fp_lab.lab.model_families.own import OwnModels


def family_of(config: ExperimentConfig) -> ModelFamily:
    """Return the family of an arm's models, by its `model.base`."""
    base = config.model.base
    return (OwnModels if base is None or is_own("base", base) else DiffusersModels)(config)
