"""Everything on disk that a run reads: digested once, passed down, and compared when a stage ends."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import encoder_identity, uses_diffusers_backbone
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.provenance.cache_identity import cache_identity
from fp_lab.lab.provenance.data_identity import clip_digests


class InputsChanged(ValueError):
    """A file that a stage reads has changed since the stage was planned, or while it was done."""


@dataclass(frozen=True)
class Inputs:
    """sha256 of everything on disk that a run reads.

    Attributes:
        codec: weights of the codec.
        base: weights of the base; None without one.
        clips: every clip and caption by its path in the folder; empty for a world.
        cache: cache of `fp-lab encode`; None without one.
        encoders: of texts and images, for arms over transformers of diffusers.
    """

    codec: str
    base: str | None = None
    clips: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = None
    encoders: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One hash of them all."""
        return digest(asdict(self))


def read_inputs(config: ExperimentConfig) -> Inputs:
    """Digest what a run reads; files that have not changed since they were digested are not read again.

    Raises:
        ValueError: codec, base, cache or encoders are not there.
    """
    data, base = config.data, config.model.base
    return Inputs(
        codec=weights_sha256("codec", config.codec.source),
        base=None if base is None else weights_sha256("base", base),
        clips=clip_digests(data.clips) if data.kind == "clips" else {},
        cache=None if data.cache is None else cache_identity(config),
        encoders=encoder_identity(config) if uses_diffusers_backbone(config) else {},
    )


def require_unchanged(before: Inputs, config: ExperimentConfig, stage: str) -> None:
    """Refuse to call a stage done whose inputs are not what they were: it stands for neither state.

    Args:
        before: from before the stage was begun.
        config: of the run.
        stage: for the message.

    Raises:
        InputsChanged: naming them.
    """
    was, now = (_by_name(inputs, config) for inputs in (before, read_inputs(config)))
    changed = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputsChanged(f"{', '.join(changed[:3])}{more}: changed during {stage}")


def require_planned(inputs: Inputs, planned: str) -> None:
    """Refuse inputs that are not those that the keys of a run were made of.

    Args:
        inputs: as they are now.
        planned: `Inputs.digest` of those that were planned with.

    Raises:
        InputsChanged: they are others.
    """
    if inputs.digest != planned:
        raise InputsChanged("weights, clips or captions: changed since the arm was planned")


def _by_name(inputs: Inputs, config: ExperimentConfig) -> dict[str, str | None]:
    """Digests by names for people."""
    return {
        f"codec {config.codec.source}": inputs.codec,
        f"base {config.model.base}": inputs.base,
        f"cache {config.data.cache}": inputs.cache,
        **{f"encoder of {name}": sha256 for name, sha256 in inputs.encoders.items()},
        **inputs.clips,
    }
