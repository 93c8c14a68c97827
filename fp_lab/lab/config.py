"""What an experiment is: typed at the door, frozen from there on. The only file that knows OmegaConf.

An experiment file is a small difference from another one (its ``base:``). The chain of files and the
``key=value`` overrides are merged in that order into an `ExperimentConfig`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fp_data.clips import ClipsConfig
from fp_data.worlds import WorldConfig
from fp_lab.backbones import TinyDiTConfig
from fp_lab.baselines import PACKED, baseline
from fp_lab.causal import Blocks
from fp_lab.lab.experiments import find_experiment
from fp_lab.lab.recipes import PARTS, RecipeRequest, resolve_recipe
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe, parse
from fp_lab.rollout import SamplingConfig
from fp_lab.system import ObjectiveConfig, OptimizerConfig

_Settings = TypeVar("_Settings")

BASE_KEY = "base"
BASELINE_KEYS = ("baseline", "protocol", "like")
LATENT_STRIDE = 8
"""Pixels per latent row of every codec that experiments can name."""
FIRST_TRAINING_SEED = 10_000
"""Seeds below are for evaluation, this one and those above for training: no video is in both."""
CARRIED = "carried"
"""A clips folder of this name stands for the clips that `fp-lab data get clips` brings."""


@dataclass(frozen=True)
class DataConfig:
    """The videos.

    Attributes:
        kind: ``world`` (synthetic) or ``clips`` (a folder of video files).
        train_videos: training videos, encoded once.
        first_seed: seed of the first training video, at least 10,000.
        world: the synthetic world, for kind ``world``.
        clips: the folder and the windows cut from it, for kind ``clips``; the folder ``carried`` stands for
            the clips of `fp-lab data get clips`, which are fetched when they are missing.
    """

    kind: Literal["world", "clips"] = "world"
    train_videos: int = 256
    first_seed: int = FIRST_TRAINING_SEED
    world: WorldConfig = field(default_factory=WorldConfig)
    clips: ClipsConfig = field(default_factory=lambda: ClipsConfig(folder=CARRIED))

    def __post_init__(self) -> None:
        """Keep training seeds apart from evaluation seeds."""
        _require("data.train_videos", self.train_videos, 1)
        _require("data.first_seed", self.first_seed, FIRST_TRAINING_SEED)

    @property
    def frames(self) -> int:
        """Length of a training video."""
        return self.world.frames if self.kind == "world" else self.clips.frames

    @property
    def size(self) -> int:
        """Height and width of the videos, pixels."""
        return self.world.size if self.kind == "world" else self.clips.size


@dataclass(frozen=True)
class CodecSource:
    """Which codec: ``shipped``, or a folder written by `fp-lab codec train`."""

    source: str = "shipped"


@dataclass(frozen=True)
class ModelSource:
    """What training starts from.

    Attributes:
        base: ``shipped``, a folder with a trained model, or null to start from random weights.
        backbone: size of the transformer where base is null; its channels are the codec's.
    """

    base: str | None = "shipped"
    backbone: TinyDiTConfig = field(default_factory=TinyDiTConfig)


@dataclass(frozen=True)
class TrainingConfig:
    """How an arm is trained.

    Attributes:
        steps: optimiser steps.
        batch: videos per step.
        ema: decay of the averaged weights, which are the ones that are kept and sampled from.
        precision: of lightning's Trainer.
        gradient_clip: largest gradient norm.
        checkpoint_every: steps between checkpoints to resume from.
        threads: CPU threads; results depend on them in the last digits.
        accelerator: of lightning's Trainer; sampling follows.
        compute_of: name of a recipe; steps then become as many as cost what `steps` of that recipe cost.
    """

    steps: int = 80
    batch: int = 16
    ema: float = 0.97
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    gradient_clip: float = 1.0
    checkpoint_every: int = 20
    threads: int = 2
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    compute_of: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("steps", "batch", "checkpoint_every", "threads"):
            _require(f"training.{name}", getattr(self, name), 1)
        if not 0 <= self.ema < 1:
            raise ValueError(f"training.ema: got {self.ema}, expected a decay in [0, 1)")


@dataclass(frozen=True)
class EvaluationConfig:
    """The videos that every arm generates and is measured on.

    Attributes:
        videos: how many.
        frames: their length in latent frames, the given first one included.
        first_seed: of the first one, which also seeds its noise; all seeds lie below 10,000.
        families: of estimators.
        fps: of the mp4 files that are written.
        batch: videos generated at once.
        strips: how many videos are also written as mp4.
    """

    videos: int = 16
    frames: int = 64
    first_seed: int = 0
    families: tuple[str, ...] = ("plain", "world")
    fps: float = 16.0
    batch: int = 16
    strips: int = 4

    def __post_init__(self) -> None:
        """Keep evaluation seeds apart from training seeds."""
        for name, least in (("videos", 1), ("frames", 2), ("first_seed", 0), ("batch", 1)):
            _require(f"evaluation.{name}", getattr(self, name), least)
        last = self.first_seed + self.videos - 1
        if last >= FIRST_TRAINING_SEED:
            raise ValueError(
                f"evaluation.first_seed: got seeds up to {last}, expected them below {FIRST_TRAINING_SEED}: "
                "those above are training videos"
            )

    @property
    def seeds(self) -> range:
        """One seed per video."""
        return range(self.first_seed, self.first_seed + self.videos)


@dataclass(frozen=True)
class ExperimentConfig:
    """One arm with one seed: everything that its figures depend on.

    Attributes:
        recipe: canonical ablation name; files may give the parts instead (``compression``, ``order``, ...).
        data: the videos.
        codec: pixels to latents.
        model: what training starts from.
        context: options of the packed context beside the name.
        objective: what is asked of the model in training.
        optimizer: AdamW and its schedule.
        training: steps, batch, precision.
        sampling: solver, guidance, fill.
        evaluation: the videos that are generated and measured.
        seed: of training.
        label: name of an arm that is more than its recipe, such as a baseline's.
        protocol: of a baseline, see `fp_lab.baselines`.
    """

    recipe: str
    data: DataConfig = field(default_factory=DataConfig)
    codec: CodecSource = field(default_factory=CodecSource)
    model: ModelSource = field(default_factory=ModelSource)
    context: ContextConfig = field(default_factory=ContextConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0
    label: str | None = None
    protocol: str | None = None

    def __post_init__(self) -> None:
        """Check what no single part can check."""
        recipe = parse(self.recipe)
        if self.context.attention == "block_causal":
            Blocks.of(recipe)
        told = self.context.timestep == "level"
        if not told and (self.objective.history.level != "clean" or self.sampling.history_level):
            raise ValueError(
                f"context.timestep: got {self.context.timestep!r} with objective.history.level "
                f"{self.objective.history.level!r} and sampling.history_level {self.sampling.history_level}, "
                "expected 'level': the model has to be told the noise of its history"
            )
        if self.training.batch > self.data.train_videos:
            raise ValueError(
                f"training.batch: got {self.training.batch}, expected at most data.train_videos "
                f"({self.data.train_videos}): a batch holds different videos"
            )

    @property
    def parsed_recipe(self) -> Recipe:
        """The recipe behind the name."""
        return parse(self.recipe)


@dataclass(frozen=True)
class Layer:
    """Values from one place, nested as in YAML, and the name of that place for messages."""

    origin: str
    values: Mapping[str, Any]


def load(name: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """An experiment from a file (see `find_experiment`) and ``key=value`` overrides.

    Raises:
        ValueError: a file that is not there, a key that does not exist, a value of the wrong type.
    """
    return merge([*read_layers(find_experiment(name)), override_layer(overrides)])


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain containers."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, expected a mapping of keys to values")
    return {str(key): value for key, value in content.items()}


def read_layers(path: Path) -> list[Layer]:
    """A file and the files that it is based on, the outermost base first."""
    chain: list[Layer] = []
    read: list[Path] = []
    following: Path | None = path
    while following is not None:
        if any(following.samefile(seen) for seen in read):
            raise ValueError(f"{path}: its chain of bases comes back to {following}")
        read.append(following)
        values = read_yaml(following)
        base = values.pop(BASE_KEY, None)
        chain.insert(0, Layer(str(following), values))
        following = None if base is None else find_experiment(str(base), beside=following)
    return chain


def override_layer(overrides: Sequence[str], origin: str = "command line") -> Layer:
    """``a.b=1`` entries as a layer; values are read as YAML."""
    for text in overrides:
        if "=" not in text or text.startswith("="):
            raise ValueError(f"{origin}: got {text!r}, expected key=value such as training.steps=200")
    values = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(values, dict)
    return Layer(origin, {str(key): value for key, value in values.items()})


def dotted_layer(values: Mapping[str, Any], origin: str) -> Layer:
    """Values under dotted keys, such as ``training.steps: 3``, as a layer."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = str(key).split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return Layer(origin, nested)


def merge(layers: Sequence[Layer]) -> ExperimentConfig:
    """Merge layers, later ones over earlier ones; see `resolve_recipe` for recipe and parts.

    A layer with ``baseline`` (and ``protocol`` and ``like``) stands for that baseline's recipe and settings,
    which the same layer and later ones may change.

    Raises:
        ValueError: names the key, its place, what came and what was expected.
    """
    return _merged(_with_baselines(layers))


def _with_baselines(layers: Sequence[Layer]) -> list[Layer]:
    """Layers in which a baseline is spelled out."""
    spelled: list[Layer] = []
    for layer in layers:
        values = dict(layer.values)
        if "baseline" not in values:
            spelled.append(layer)
            continue
        if clash := [key for key in ("recipe", *PARTS) if key in values]:
            raise ValueError(
                f"{layer.origin}: got baseline {values['baseline']!r} and {', '.join(clash)}, expected one: "
                "a baseline has a recipe of its own"
            )
        name, protocol = str(values.pop("baseline")), str(values.pop("protocol", "paper"))
        like = str(values.pop("like", PACKED))
        videos: dict[str, Any] = {key: values[key] for key in ("data", "evaluation") if key in values}
        about = _merged([*spelled, Layer(layer.origin, {**videos, "recipe": like})])
        side = about.data.size // LATENT_STRIDE
        frames = about.evaluation.frames
        made = baseline(name, protocol, packed=like, frames=frames, rows=side, columns=side)
        own = {"recipe": str(made.recipe), "label": name, "protocol": protocol, **made.settings}
        spelled += [dotted_layer(own, layer.origin), Layer(layer.origin, values)]
    return spelled


def _merged(layers: Sequence[Layer]) -> ExperimentConfig:
    own, requests = [], []
    for layer in layers:
        values = {key: value for key, value in layer.values.items() if key not in (*PARTS, "recipe")}
        own.append(Layer(layer.origin, values))
        requests.append(
            RecipeRequest(layer.origin, {k: v for k, v in layer.values.items() if k not in values})
        )
    return _typed(ExperimentConfig, [*own, Layer("recipe", {"recipe": resolve_recipe(requests)})])


def load_settings(kind: type[_Settings], name: str | Path, overrides: Sequence[str] = ()) -> _Settings:
    """Settings of another kind than an experiment (such as pretraining), read and checked in the same way.

    Raises:
        ValueError: a file that is not there, a key that does not exist, a value of the wrong type.
    """
    return _typed(kind, [*read_layers(find_experiment(name)), override_layer(overrides)])


def _typed(kind: type[_Settings], layers: Sequence[Layer]) -> _Settings:
    schema, known = OmegaConf.structured(kind), [*PARTS, *BASELINE_KEYS, *_known_paths(kind)]
    leaves = [leaf for layer in layers for leaf in _leaves(layer.values, kind, layer.origin, known=known)]
    merged = dotted_layer({leaf.path: leaf.value for leaf in leaves}, "all")
    try:
        settings = OmegaConf.to_object(OmegaConf.merge(schema, merged.values))
    except OmegaConfBaseException as error:
        for leaf in leaves:
            _check_leaf(schema, leaf)
        raise ValueError(f"{layers[-1].origin}: {error}") from error
    assert isinstance(settings, kind)
    return settings


def to_yaml(config: ExperimentConfig) -> str:
    """The resolved config; `load` of it gives an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def yaml_of(values: Mapping[str, Any]) -> str:
    """Plain containers as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(values)))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


@dataclass(frozen=True)
class _Leaf:
    origin: str
    path: str
    value: Any
    expected: Any


def _leaves(
    values: Mapping[str, Any], kind: type, origin: str, prefix: str = "", *, known: Sequence[str]
) -> Iterator[_Leaf]:
    """Every value with its dotted path and expected type; refuses keys that do not exist."""
    hints = get_type_hints(kind)
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in hints:
            inner = next(iter(flatten(value, f"{path}.")), path) if isinstance(value, Mapping) else path
            raise ValueError(f"{origin}: unknown key {inner!r}{_hint(inner, known)}")
        if not is_dataclass(hints[key]):
            yield _Leaf(origin, path, value, hints[key])
        elif isinstance(value, Mapping):
            assert isinstance(hints[key], type)
            yield from _leaves(value, hints[key], origin, f"{path}.", known=known)
        else:
            keys = ", ".join(field.name for field in fields(hints[key]))
            raise ValueError(f"{origin}: {path}: got {value!r}, expected a mapping with keys among {keys}")


def _check_leaf(schema: Any, leaf: _Leaf) -> None:
    """Say what is wrong with a value that does not fit; one that refers to others is not looked at."""
    if isinstance(leaf.value, str) and "${" in leaf.value:
        return
    try:
        OmegaConf.merge(schema, dotted_layer({leaf.path: leaf.value}, leaf.origin).values)
    except OmegaConfBaseException as error:
        wanted = leaf.expected.__name__ if type(leaf.expected) is type else str(leaf.expected)
        raise ValueError(
            f"{leaf.origin}: {leaf.path}: got {leaf.value!r} ({type(leaf.value).__name__}), "
            f"expected {wanted.replace('typing.', '')}"
        ) from error


def _hint(path: str, known: Sequence[str]) -> str:
    last = path.rpartition(".")[2]
    close = get_close_matches(path, known, n=1, cutoff=0.75)
    close = close or [name for name in known if name.rpartition(".")[2] == last][:3]
    close = close or get_close_matches(path, known, n=1)
    return (
        f"; did you mean {' or '.join(close)}?"
        if close
        else f"; the keys are {', '.join(k for k in known if '.' not in k)}"
    )


def _known_paths(kind: type, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _known_paths(hint, f"{prefix}{name}.")


def _require(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name}: got {value}, expected at least {least}")
