"""Loading of models to generate with, from a run, a model's folder or a release, with their config."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fp_data.buckets import Bucket
from fp_data.shard_manifest import MANIFEST, Manifest
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.weights import is_own
from fp_lab.lab.materials.models import load_trained
from fp_lab.lab.model_families.choose import family_of
from fp_lab.lab.runtime.quiet import quiet_loading
from fp_lab.model import FramePackModel
from fp_lab.weights.files import WEIGHTS_FILE

_EXPERIMENT = "base"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model and its config for sampling.

    Attributes:
        model: model on the CPU.
        config: settings of the run, or as requested.
        sizes: training sizes, the most frequent one first, where known.
        begins: number of given frames of the training videos, for a run; see `objective.given`.
    """

    model: FramePackModel
    config: ExperimentConfig
    sizes: tuple[Bucket, ...] = ()
    begins: tuple[int, ...] | None = None


def load_model(
    checkpoint: str | None,
    recipe: str | None = None,
    experiment: str | None = None,
    overrides: Sequence[str] = (),
) -> LoadedModel:
    """Load the model that a checkpoint names.

    Args:
        checkpoint: folder of a run or of a trained model, or a folder or hub id in diffusers' format; None:
            the `model.base` of the experiment.
        recipe: ablation name; needed unless a run or an experiment has one.
        experiment: experiment file with the settings; a run has its own.
        overrides: overrides of settings, ``key=value``.

    Raises:
        ValueError: there is no such checkpoint, or the recipe is unknown.
    """
    chosen = [] if recipe is None else [f"recipe={recipe}"]
    if checkpoint == "":
        raise ValueError("checkpoint: got an empty name, expected a folder or a hub id")
    if checkpoint is not None and RunFolder(Path(checkpoint)).config.is_file():
        return _of_run(RunFolder(Path(checkpoint)), [*chosen, *overrides])
    if recipe is None and experiment is None:
        raise ValueError(
            f"got {checkpoint or 'no checkpoint'} and no recipe, expected --checkpoint RUN, which has one, "
            "or --recipe NAME, such as f1k1_x_g9_f1k1f2k2f16k4_td, or --config NAME"
        )
    settings = [*_settings(checkpoint), *chosen, *overrides]
    config = load(_EXPERIMENT if experiment is None else experiment, settings)
    family = family_of(config)
    if checkpoint is not None and (Path(checkpoint) / WEIGHTS_FILE).is_file():
        trained = _load(Path(checkpoint), config)
        return LoadedModel(trained, replace(config, context=trained.context), family.sizes())
    model = family.released_model()
    if model is None:
        raise ValueError(
            f"checkpoint: got {checkpoint or config.model.base}, expected the folder of a run "
            "(runs/<grid>/<arm>/seed<k>) or of a trained model, or a transformer in diffusers' format"
        )
    return LoadedModel(model, config, family.sizes())


def _of_run(run: RunFolder, overrides: Sequence[str]) -> LoadedModel:
    if not run.model.is_dir():
        raise ValueError(f"{run.path} holds no trained model yet; finish it with the command of its grid")
    config = load(run.config, overrides)
    cache = config.data.cache
    sizes = (Bucket(config.data.size, config.data.size),) if cache is None else _sizes(Path(cache))
    return LoadedModel(_load(run.model, config), config, sizes, config.objective.given)


def _sizes(cache: Path) -> tuple[Bucket, ...]:
    """Sizes of a cache's clips, if it still exists."""
    if not (cache / MANIFEST).is_file():
        return ()
    clips = Counter[Bucket]()
    for shard in Manifest.load(cache).shards:
        clips[shard.bucket] += len(shard.indices)
    return tuple(size for size, _ in clips.most_common())


def _load(folder: Path, config: ExperimentConfig) -> FramePackModel:
    with quiet_loading():
        return load_trained(folder, config)


def _settings(checkpoint: str | None) -> list[str]:
    """Settings that follow from a checkpoint in diffusers' format, which often has its VAE beside it."""
    if checkpoint is None or is_own("base", checkpoint):
        return []
    settings = [f"model.base={checkpoint}", "objective.flow.output=velocity"]
    if not Path(checkpoint).is_dir() or (Path(checkpoint) / "vae").is_dir():
        settings.append(f"codec.source={checkpoint}")
    return settings
