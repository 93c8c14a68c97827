"""What a run reads may change under it: what was made meanwhile stands for neither state."""

from collections.abc import Mapping

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import is_real, told_identity
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.provenance.cache_identity import cache_identity
from fp_lab.lab.provenance.data_identity import clip_digests


class InputsChanged(ValueError):
    """A file that a stage reads has changed while the stage was done."""


def input_digests(config: ExperimentConfig) -> dict[str, str]:
    """Everything on disk that a run reads, by a name for people, and the sha256 of its content."""
    found = {f"codec {config.codec.source}": weights_sha256("codec", config.codec.source)}
    if config.model.base is not None:
        found[f"base {config.model.base}"] = weights_sha256("base", config.model.base)
    if config.data.kind == "clips":
        found |= clip_digests(config.data.clips)
    if config.data.cache is not None:
        found[f"cache {config.data.cache}"] = cache_identity(config)
    if is_real(config):
        told = {f"encoder of {name}": sha256 for name, sha256 in told_identity(config).items()}
        found |= {name: sha256 for name, sha256 in told.items() if sha256 is not None}
    return found


def require_unchanged(before: Mapping[str, str], config: ExperimentConfig, stage: str) -> None:
    """Refuse to call a stage done whose inputs are not what they were.

    Args:
        before: `input_digests` from before the stage's key was made.
        config: of the run.
        stage: for the message.

    Raises:
        InputsChanged: naming them.
    """
    now = input_digests(config)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputsChanged(f"{', '.join(changed[:3])}{more}: changed during {stage}")
