"""One run: train, sample, score; each stage is done once per key."""

from collections.abc import Sequence
from pathlib import Path

from fp_lab.lab.checkpoints.during_training import train_tracked
from fp_lab.lab.config import ExperimentConfig, to_yaml
from fp_lab.lab.files.atomic import keep_text
from fp_lab.lab.files.run_folder import STAGES, RunFolder, Stage
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.planning.flops import training_tflop
from fp_lab.lab.provenance.inputs import read_inputs, require_unchanged
from fp_lab.lab.provenance.record import provenance
from fp_lab.lab.provenance.stage_keys import StageKeys, planned_keys
from fp_lab.lab.runs.job import pending_stages
from fp_lab.lab.runs.reuse_training import reuse_training
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.evaluation_videos import sample
from fp_lab.lab.sampling.without_rollout import measure_without_rollout, without_rollout_key
from fp_lab.lab.scoring.score_run import score_run


def run(
    folder: Path,
    config: ExperimentConfig,
    materials: Materials,
    reporter: Reporter,
    *,
    truth: Path | None = None,
    stages: Sequence[Stage] = STAGES,
    keys: StageKeys | None = None,
    trained: Sequence[Path] = (),
) -> list[Stage]:
    """Bring a run's stages up to date.

    Args:
        folder: folder of the run, ``runs/<grid>/<arm>/seed<k>``.
        config: settings of the run.
        materials: materials that arms share.
        reporter: receiver of progress.
        truth: folder of the ground truth's scores (see `prepare_truth`), by default that of the grid.
        stages: stages to bring up to date, the first ones of `STAGES`.
        keys: keys of the stages, if known.
        trained: runs whose model is reused if it was trained in the same way.

    Returns:
        Stages that had to be done.

    Raises:
        InputsChanged: an input has changed since the keys were made; the stage is not done.
        ValueError: an error that the user can fix.
    """
    place, inputs = RunFolder(folder), read_inputs(config)
    keys = planned_keys(config, inputs, keys)
    keep_text(place.config, to_yaml(config))
    for line in place.restore():
        reporter.say(line)
    pending = pending_stages(place, keys, stages)
    for stage in pending:
        for line in place.set_aside(stage):
            reporter.say(line)
        place.clear(stage)
    if "train" in pending:
        place.efficiency.unlink(missing_ok=True)  # or the peak memory of an earlier training would count
        if origin := reuse_training(place, keys.train, trained):
            reporter.say(origin)
            pending.remove("train")
    measured = without_rollout_key(keys.sample, config)
    if "score" in stages and not pending:  # the number of videos measured may be another one
        measure_without_rollout(place, config, measured, materials, reporter)
    for stage in pending:
        key = getattr(keys, stage)
        if stage == "score":
            measure_without_rollout(place, config, measured, materials, reporter)
        with place.doing(stage, key):
            if stage == "train":
                train_tracked(place, config, key, materials, reporter)
                place.record_efficiency({"training_tflop": training_tflop(config)})
            elif stage == "sample":
                sample(place, config, materials, reporter)
            else:
                threads = config.training.threads
                score_run(place.path, config, truth=truth, workers=threads, reporter=reporter)
            require_unchanged(inputs, config, stage)
            place.record_provenance(stage, provenance(config, stage, inputs))
        if stage == "train":
            place.checkpoint.unlink(missing_ok=True)
    return pending
