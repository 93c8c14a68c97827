"""Keys of stages: hashes of what each depends on; a stage with the same key is not repeated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fp_lab.causal import Blocks
from fp_lab.flow.history_sources import WITH_SETTINGS
from fp_lab.lab.config import ExperimentConfig, plain_settings
from fp_lab.lab.files.run_folder import STAGES, digest
from fp_lab.lab.files.weights import is_own
from fp_lab.lab.provenance.data_identity import data_identity
from fp_lab.lab.provenance.inputs import Inputs, InputsChanged, read_inputs
from fp_lab.lab.provenance.plugins import MEASURING, SAMPLING
from fp_lab.registry import foreign_module, source_sha256
from fp_lab.sampling.history_latents import AdaptiveConfig
from fp_lab.sampling.recency import RecencyConfig
from fp_metrics import FAMILIES, protocol

STAGE_VERSIONS = {"train": 1, "sample": 1, "score": 1, "truth": 1}
"""Versions of the stages' algorithms, part of their keys.

Raise one when the same config, weights and data give other results than before: a loss, a sampler or a round
trip through the codec that computes something else. Do not raise it for changes that leave every bit as it
was: names, comments, messages. Estimators have a version of their own, `fp_metrics.PROTOCOL_VERSION`.
"""


MADE_OF = ("weights", "data", "estimators", "version")
"""Dependencies of keys beside settings; the version is that of the stages."""


_LATER: Mapping[str, Any] = {
    "context.packer": "projections",
    "objective.history.source": "true",
    "model.architecture": "tiny",
    "sampling.rope_jitter": 0.0,
    "sampling.recency": asdict(RecencyConfig()),
    "sampling.adaptive": asdict(AdaptiveConfig()),
    "sampling.section_noise": "fresh",
    "sampling.reencode": False,
    "sampling.positions": "trained",
}
"""Settings that came after runs were stored, with their default, at which they are in no key."""


def without_later_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Take out of a config's plain values what stored runs did not have yet, while it changes nothing."""
    for path, default in _LATER.items():
        *parents, last = path.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        if place[last] == default:
            del place[last]
    history = content["objective"]["history"]
    for source in set(WITH_SETTINGS) - {history.get("source")}:
        del history[source]  # unused
    return content


@dataclass(frozen=True)
class StageKeys:
    """Keys of the three stages, and of the ground truth's scores.

    Attributes:
        train: key of the training.
        sample: key of the generated videos.
        score: key of the scores.
        truth: key of the ground truth's scores.
        made_of: hashes of dependencies beside settings, by `MADE_OF`.
        inputs: `Inputs.digest` of the inputs.
    """

    train: str
    sample: str
    score: str
    truth: str
    made_of: Mapping[str, str] = field(default_factory=dict, compare=False)
    inputs: str = field(default="", compare=False)

    def again(self, times: int) -> "StageKeys":
        """Return the keys after that many explicit repetitions of the stages; the same keys for 0."""
        if not times:
            return self
        own: dict[str, Any] = {name: digest({"key": getattr(self, name), "again": times}) for name in STAGES}
        return replace(self, **own)


def stage_keys(config: ExperimentConfig, inputs: Inputs | None = None) -> StageKeys:
    """Compute keys from what each stage depends on: parts of the config, weights, data, version.

    Args:
        config: settings of the run.
        inputs: inputs of the run, if known; else they are read.

    Raises:
        ValueError: the codec or the base is missing.
    """
    inputs = read_inputs(config) if inputs is None else inputs
    content, codec = without_later_defaults(plain_settings(config)), inputs.codec
    data = data_identity(config.data, inputs.clips)
    learned: dict[str, Any] = {
        "data": data,
        "first_seed": config.data.first_seed,
        "train_videos": config.data.train_videos,
    }
    if config.data.cache is not None:
        learned = {"cache": inputs.cache}
    same_result = ("checkpoint_every", "workers")
    training = {k: v for k, v in content["training"].items() if k not in same_result}
    start = _start(config, content["model"], inputs)
    if not is_own("codec", config.codec.source):
        codec = f"{codec} {config.codec.dtype}"
    recipe, context = config.parsed_recipe, config.context
    # what these arms were trained and sampled with before was not what it is now; others are as they were
    blocks = Blocks.of(recipe) if context.attention == "block_causal" else None
    moments = {"moments": "of blocks"} if blocks and blocks.history % blocks.section else {}
    noisy = config.sampling.history_level or config.sampling.history_guidance != 1
    guided = config.sampling.history_guidance != 1 and context.missing == "zero"
    noises = {"noise": "per level"} if context.timestep == "level" and noisy else {}
    noises |= {"without": "zero latents"} if context.timestep != "level" and guided else {}
    plugins = inputs.plugins
    measuring, solving = _of_kinds(plugins, MEASURING), _of_kinds(plugins, SAMPLING)
    training_with = {name: own for name, own in plugins.items() if name not in solving}
    train = digest(
        {name: content[name] for name in ("recipe", "context", "objective", "optimizer", "seed")}
        | learned
        | {"codec": codec, "start": start, "training": training, "fill": config.sampling.fill}
        | moments
        | ({"plugins": training_with} if training_with else {})
        | {"version": STAGE_VERSIONS["train"]}
    )
    not_true = ("families", "perceptual", "fps", "strips", "shuffled", "without_rollout")
    evaluation = {k: v for k, v in content["evaluation"].items() if k not in not_true}
    videos = {"data": data, "codec": codec, "evaluation": evaluation}
    written = {"fps": config.evaluation.fps, "strips": config.evaluation.strips}
    sample = digest(
        {"train": train, "sampling": content["sampling"], "videos": videos, "written": written}
        | ({"shuffled": True} if config.evaluation.shuffled else {})
        | noises
        | ({"plugins": solving} if solving else {})
        | {"version": STAGE_VERSIONS["sample"]}
    )
    measured = measured_by(config) | {"perceptual": config.evaluation.perceptual}
    truth = digest(
        {"videos": videos, "measured": measured, "fps": config.evaluation.fps}
        | ({"plugins": measuring} if measuring else {})
        | {"version": STAGE_VERSIONS["truth"]}
    )
    score = digest({"sample": sample, "truth": truth, "version": STAGE_VERSIONS["score"]})
    weights = {"codec": codec, **start, "backbone": None}
    parts = (weights, [learned, data], measured, STAGE_VERSIONS)
    made_of = {name: digest({"of": part}) for name, part in zip(MADE_OF, parts, strict=True)}
    made_of |= {f"plugin {name}": source for name, source in plugins.items()}
    return StageKeys(train, sample, score, truth, made_of, inputs.digest)


def _start(config: ExperimentConfig, model: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """Identity of the model that training starts from; `model` are the plain values of the settings."""
    start: dict[str, Any] = {name: model[name] for name in ("backbone", "architecture") if name in model}
    if config.model.base is not None:
        start = {"base": inputs.base}
    if inputs.encoders:  # of a transformer of diffusers
        start |= {name: model[name] for name in ("lora", "dtype", "encoder_dtype", "checkpointing")}
        start |= {"told": dict(inputs.encoders)}
    return start


def _of_kinds(plugins: Mapping[str, str], kinds: tuple[str, ...]) -> dict[str, str]:
    return {name: source for name, source in plugins.items() if name.partition(" ")[0] in kinds}


def planned_keys(config: ExperimentConfig, inputs: Inputs, planned: StageKeys | None) -> StageKeys:
    """Return the keys that a run was planned with, or make them where it was not planned.

    Args:
        config: settings of the run.
        inputs: inputs of the run as they are now.
        planned: keys from the plan, if there is one.

    Raises:
        InputsChanged: the plan was made with other inputs.
    """
    if planned is None:
        return stage_keys(config, inputs)
    if inputs.digest != planned.inputs:
        raise InputsChanged("weights, clips or captions: changed since the arm was planned")
    return planned


def measured_by(config: ExperimentConfig) -> dict[str, Any]:
    """Return the protocol of an experiment's estimators, without package versions."""
    families = config.evaluation.families
    if config.data.kind == "world" and config.data.world.still and "probe" not in families:
        families = (*families, "probe")  # reads what comes back
    described = protocol(families)
    kinds = [kind for family in families for kind in FAMILIES[family].values()]
    foreign = {kind.name: module for kind in kinds if (module := foreign_module(kind))}
    sources = {name: source_sha256(module) for name, module in foreign.items()}
    measured = {name: part for name, part in described.items() if name != "versions"}
    return measured | ({"plugins": sources} if sources else {})
