"""The model's own rollouts played backwards: from drift back to what is true."""

from typing import Any

from torch import Tensor

from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import HISTORY_SOURCES
from fp_lab.recipe.lengths import trained_part
from fp_lab.training.history.rollout import OwnRollouts
from fp_lab.training.history.source import HistorySource, Sampled, TrainingStep, Videos


@HISTORY_SOURCES.register("reversed")
class ReversedHistory(HistorySource):
    """The model's own rollout, backwards in time, as history, with the true video backwards as the target.

    A rollout of L frames starts true and drifts; backwards, frame t is its frame L - 1 - t, so that a history
    begins with the most drifted frames and leads to the true start, which is the last target. A share `share`
    of the videos with a kept rollout (`OwnRollouts`) is played so. The others are true and forward, or the
    model would learn to move backwards. The loss is the usual one.

    Source: BAgger (https://arxiv.org/abs/2512.12080): rollouts played backwards as corrective trajectories,
    aggregated with the data in rounds, as DAgger does. There the targets are the rollout's own frames too
    (read from its abstract and project page); here they are the true frames of the same times, as DAgger asks
    its expert, so that no drifted frame is ever a target.
    """

    needs_plan = True

    def __init__(self, config: HistoryConfig) -> None:
        super().__init__(config)
        self.rollouts = OwnRollouts(config.reversed, last=True)

    def videos(self, step: TrainingStep) -> Videos:
        """Return rollouts and true videos, both backwards, where there is a rollout.

        Raises:
            ValueError: the model is told the first frame.
        """
        if step.images is not None:
            raise ValueError(
                "objective.history.source: got 'reversed' for a model that is told the first frame, expected "
                "another source: a video that is played backwards begins with another frame"
            )
        own, used = self.rollouts.of(step)
        given = max(step.plan.given)
        length = trained_part(step.plan.recipe.section, own.shape[2], given)
        backwards = used.to(own.device)[:, None, None, None, None]
        history, targets = (_flipped(video, length).where(backwards, video) for video in (own, step.latents))
        return Videos(history, targets)

    def state_dict(self) -> dict[str, Any]:
        """Return the rollouts."""
        return self.rollouts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rollouts."""
        self.rollouts.load_state_dict(state)

    @staticmethod
    def sampled(config: HistoryConfig, sections: int) -> Sampled:
        """All sections, once in so many batches."""
        return OwnRollouts.sampled(config.reversed, sections, last=True)


def _flipped(latents: Tensor, length: int) -> Tensor:
    """Latents ``b c t h w`` whose first `length` frames are backwards; sections are drawn from these."""
    flipped = latents.clone()
    flipped[:, :, :length] = latents[:, :, :length].flip(2)
    return flipped
