"""Noise floor of a grid's metrics: scores of the ground truth, made once per evaluation set."""

from pathlib import Path

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import TRUTH_FOLDER, RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.inputs import read_inputs, require_unchanged
from fp_lab.lab.provenance.stage_keys import StageKeys, planned_keys, stage_keys
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.score_run import score_truth


def prepare_truth(
    folder: Path,
    config: ExperimentConfig,
    materials: Materials,
    reporter: Reporter,
    keys: StageKeys | None = None,
) -> None:
    """Score the ground truth of the evaluation set, the noise floor of every arm's metrics, once.

    Processes that need it at the same time wait for the first.

    Args:
        folder: folder of the ground truth.
        config: settings of an arm.
        materials: codec and evaluation set.
        reporter: receiver of progress.
        keys: keys of the arm's stages, if known.

    Raises:
        InputsChanged: an input has changed since the keys were made.
    """
    place, inputs = RunFolder(folder), read_inputs(config)
    key = planned_keys(config, inputs, keys).truth
    with only_one(place.lock):
        if place.is_done("truth", key):
            return
        for line in place.set_aside("truth"):
            reporter.say(line)
        place.clear("truth")
        evaluation, codec = materials.evaluation(config), materials.codec(config)
        with place.doing("truth", key):
            threads = config.training.threads
            score_truth(folder, evaluation.truth, config, codec, workers=threads, reporter=reporter)
            require_unchanged(inputs, config, "truth")


def find_truth(run: RunFolder, config: ExperimentConfig) -> Path | None:
    """Find the scored ground truth of a run's evaluation set in its grid; None where there is none."""
    key = stage_keys(config).truth
    places = sorted(run.path.resolve().parents[1].glob(f"{TRUTH_FOLDER}*"))
    return next((place for place in places if RunFolder(place).is_done("truth", key)), None)
