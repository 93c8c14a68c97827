"""Scoring of checkpoints like runs: the fixed evaluation set is generated and measured."""

from dataclasses import asdict, replace

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import RunFolder, digest
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.evaluation_videos import sample
from fp_lab.lab.sampling.without_rollout import measure_without_rollout, without_rollout_key
from fp_lab.lab.scoring.noise_floor import find_truth
from fp_lab.lab.scoring.score_run import score_run
from fp_lab.lab.training.checkpoints import Checkpoint, checkpoints


class Scorer:
    """Scores the checkpoints of one run.

    Args:
        run: folder of the run.
        config: settings of the run; `track.videos` of its evaluation set are used.
        materials: codec and evaluation set.
        reporter: receiver of progress.
    """

    def __init__(
        self, run: RunFolder, config: ExperimentConfig, materials: Materials, reporter: Reporter
    ) -> None:
        videos = config.track.videos or config.evaluation.videos
        self.config = replace(config, evaluation=replace(config.evaluation, videos=videos))
        self.run, self.materials, self.reporter = run, materials, reporter
        self.truth = find_truth(run, config)
        self._protocol = stage_keys(self.config).truth

    def key(self, checkpoint: Checkpoint) -> str:
        """Return a key of the scores: of weights, sampling, evaluation videos and measurement."""
        sampled = {"recipe": self.config.recipe, "sampling": asdict(self.config.sampling)}
        return digest(sampled | {"model": checkpoint.sha256, "evaluation": self._protocol})

    def is_scored(self, checkpoint: Checkpoint) -> bool:
        """Return whether there are scores that `score` would only repeat."""
        return checkpoint.is_done("score", self.key(checkpoint))

    def scored(self) -> tuple[Checkpoint, ...]:
        """List the checkpoints with such scores."""
        return tuple(place for place in checkpoints(self.run) if self.is_scored(place))

    def waiting(self) -> tuple[Checkpoint, ...]:
        """List the checkpoints that can be scored and are not."""
        return tuple(p for p in checkpoints(self.run) if p.has_weights and not self.is_scored(p))

    def measure(self, checkpoint: Checkpoint) -> bool:
        """Measure without rollout what was scored before; return whether there was something to do.

        Nothing is sampled or scored again. A checkpoint whose weights were pruned stays as it is.

        Raises:
            ValueError: the weights are damaged.
        """
        if not checkpoint.has_weights:
            return False
        with only_one(checkpoint.lock):
            return self._measure(checkpoint)

    def score(self, checkpoint: Checkpoint) -> None:
        """Generate and measure, unless already done; scores of another protocol are replaced.

        Raises:
            ValueError: the weights are damaged, or sampling or scoring fails.
        """
        with only_one(checkpoint.lock):  # a training and `fp-lab track` may both be at it
            if not self.is_scored(checkpoint):
                self._score(checkpoint)

    def _score(self, checkpoint: Checkpoint) -> None:
        checkpoint.check_weights()
        checkpoint.clear("sample")
        checkpoint.clear("score")
        with checkpoint.doing("score", self.key(checkpoint)):
            sample(checkpoint, self.config, self.materials, self.reporter)
            self._measure(checkpoint)
            threads, reporter = self.config.training.threads, self.reporter
            score_run(checkpoint.path, self.config, truth=self.truth, workers=threads, reporter=reporter)
        checkpoint.error.unlink(missing_ok=True)

    def _measure(self, checkpoint: Checkpoint) -> bool:
        key = without_rollout_key(self.key(checkpoint), self.config)
        return measure_without_rollout(checkpoint, self.config, key, self.materials, self.reporter)
