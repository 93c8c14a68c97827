"""Inputs of a run on disk: digested once, passed down, and compared when a stage ends."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import encoder_identity
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.files.weights import weights_sha256
from fp_lab.lab.provenance.cache_identity import cache_identity
from fp_lab.lab.provenance.data_identity import digests_of_videos
from fp_lab.lab.provenance.plugins import plugins_used


class InputsChanged(ValueError):
    """An input has changed since the stage was planned, or while it ran."""


@dataclass(frozen=True)
class Inputs:
    """sha256 digests of everything on disk that a run reads.

    Attributes:
        codec: digest of the codec's weights.
        base: digest of the base's weights; None without base.
        clips: digests of clips and captions by their path in the folder; empty for a world.
        cache: identity of the `fp-lab encode` cache; None without cache.
        encoders: identity of the text and image encoders, for arms over transformers of diffusers.
        plugins: digests of the sources of plugins in use, by kind and name, see `plugins_used`.
    """

    codec: str
    base: str | None = None
    clips: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = None
    encoders: Mapping[str, str | None] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One hash of all inputs."""
        return digest(asdict(self))


def read_inputs(config: ExperimentConfig) -> Inputs:
    """Digest the inputs of a run; files unchanged since their last digest are not read again.

    Raises:
        ValueError: codec, base, cache or encoders are missing.
    """
    data, base = config.data, config.model.base
    return Inputs(
        codec=weights_sha256("codec", config.codec.source),
        base=None if base is None else weights_sha256("base", base),
        clips=digests_of_videos(data),
        cache=None if data.cache is None else cache_identity(config),
        encoders=encoder_identity(config),
        plugins=plugins_used(config),
    )


def require_unchanged(before: Inputs, config: ExperimentConfig, stage: str) -> None:
    """Check that the inputs did not change during a stage; else its result stands for neither state.

    Args:
        before: inputs at the beginning of the stage.
        config: settings of the run.
        stage: name of the stage, for the message.

    Raises:
        InputsChanged: inputs have changed; the message names them.
    """
    was, now = (_by_name(inputs, config) for inputs in (before, read_inputs(config)))
    changed = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputsChanged(f"{', '.join(changed[:3])}{more}: changed during {stage}")


def _by_name(inputs: Inputs, config: ExperimentConfig) -> dict[str, str | None]:
    """Digests by readable names."""
    return {
        f"codec {config.codec.source}": inputs.codec,
        f"base {config.model.base}": inputs.base,
        f"cache {config.data.cache}": inputs.cache,
        **{f"plugin {name}": sha256 for name, sha256 in inputs.plugins.items()},
        **{f"encoder of {name}": sha256 for name, sha256 in inputs.encoders.items()},
        **inputs.clips,
    }
