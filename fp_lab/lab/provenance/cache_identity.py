"""Folder and identity of the `fp-lab encode` cache that a config names."""

from pathlib import Path

from fp_data.shards import Shards
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.cache_conditions import read_empty
from fp_lab.lab.encoding.conditions import encoders_of
from fp_lab.lab.files.run_folder import digest
from fp_lab.weights.files import tensors_sha256


def cache_identity(config: ExperimentConfig) -> str:
    """Identity of the cache that a config names: its content, not its path.

    The manifest is trusted as long as the shards have their sizes; `fp-lab encode --check` reads them.

    Raises:
        ValueError: there is no transformer of diffusers to train, or the cache is incomplete, see
            `open_cache`.
    """
    folder = cache_of(config)
    shards = [shard.sha256 for shard in Shards(folder).manifest.shards]
    return digest({"shards": shards, "empty": tensors_sha256(read_empty(folder).tensors)})


def cache_of(config: ExperimentConfig) -> Path:
    """Return the folder of the cache that a config names.

    Raises:
        ValueError: there is no transformer of diffusers to train.
    """
    assert config.data.cache is not None
    if encoders_of(config) is None:
        raise ValueError(
            f"data.cache: got {config.data.cache} with model.base {config.model.base}, expected a base in "
            "diffusers' format, which is told what a cache holds; set data.cache=null for the lab's own"
        )
    return Path(config.data.cache)
