"""The model's own rollouts of the training videos, kept and refreshed now and then."""

import hashlib
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import HISTORY_SOURCES, RolloutConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.recipe.lengths import trained_part
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.training.history.source import HistorySource, Sampled, TrainingStep, Videos


class OwnRollouts:
    """Rollouts ``c t h w`` of training videos, the oldest out first, on the CPU.

    Every `every` training batches the videos of the batch are rolled out by the current model, as they are
    sampled: from the given frames through the plan, section by section, without guidance and without
    gradients, each section in `steps` Euler steps. A later batch with the same videos finds them here.
    """

    def __init__(self, config: RolloutConfig, last: bool) -> None:
        """Begin without any.

        Args:
            config: settings.
            last: whether the plan's last section is made too, which is in no history.
        """
        self.config, self.last = config, last
        self.batches = 0
        self.kept: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        """Bytes of all rollouts."""
        return sum(latents.nbytes for latents in self.kept.values())

    def of(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """Rollouts of a step's videos ``b c t h w``, and for which there is one and it was drawn, ``b``.

        Where there is none, the latents are the true ones.
        """
        names = [_name(video) for video in step.latents]
        if step.learning:
            if self.batches % self.config.every == 0:
                self._refresh(names, step)
            self.batches += 1
        drawn = torch.rand(len(names), generator=step.own) < self.config.share
        used = drawn & torch.tensor([name in self.kept for name in names])
        own = step.latents.clone()
        for row in used.nonzero()[:, 0].tolist():
            own[row] = self.kept[names[row]].to(own)
        return own, used

    def _refresh(self, names: list[str], step: TrainingStep) -> None:
        for name, latents in zip(names, self._rolled_out(step).cpu(), strict=True):
            self.kept.pop(name, None)  # the newest stand at the end
            self.kept[name] = latents.clone()
        for name in list(self.kept)[: -self.config.videos]:
            del self.kept[name]

    def _rolled_out(self, step: TrainingStep) -> Tensor:
        plan, latents = step.plan, step.latents.clone()
        frames, given = latents.shape[2], max(plan.given)
        sections = plan.sections(frames, given)
        seeds = torch.randint(2**31, (len(latents),), generator=step.own).tolist()
        sampling = SamplingConfig(
            SolverConfig("euler", self.config.steps),
            distilled_guidance=step.objective.distilled_guidance,
            shift=step.objective.flow.shift,
        )
        with step.sampling():
            made = rollout(
                step.model,
                plan.recipe,
                latents[:, :, :given],
                frames=trained_part(plan.recipe.section, frames, given),
                captions=step.captions,
                seeds=seeds,
                sampling=sampling,
                images=step.images,
                sections=sections,
            )
            for part in islice(made, len(sections) - (not self.last)):
                latents[:, :, list(part.section.targets)] = part.latents
        return latents

    def state_dict(self) -> dict[str, Any]:
        """Return all rollouts by age, and the number of batches seen."""
        return {"batches": self.batches, "names": list(self.kept), "latents": list(self.kept.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.batches = state["batches"]
        self.kept = dict(zip(state["names"], state["latents"], strict=True))

    @staticmethod
    def sampled(config: RolloutConfig, sections: int, last: bool) -> Sampled:
        """All sections, or all but the last, once in `every` batches."""
        share = 1 / config.every
        return Sampled((*[share] * (sections - 1), share if last else 0.0), config.steps)


@HISTORY_SOURCES.register("rollout")
class RolloutHistory(HistorySource):
    """The model's own earlier sections as history, with the true section as the target.

    Rollouts of training videos are kept (`OwnRollouts`): a video whose rollout is there has its history from
    it, another one has the true history. So at least one of `every` batches has own histories, and where the
    videos are few, nearly all have. Given frames are true, as in sampling.

    Source: the part of Self Forcing (https://arxiv.org/abs/2506.08009) that needs no teacher: histories are
    rolled out by the model that is trained. The loss is the usual one, not a match of distributions.
    """

    needs_plan = True

    def __init__(self, config: HistoryConfig) -> None:
        super().__init__(config)
        self.rollouts = OwnRollouts(config.rollout, last=False)

    def videos(self, step: TrainingStep) -> Videos:
        """Return own rollouts as histories, where there are any."""
        return Videos(self.rollouts.of(step)[0], step.latents)

    def state_dict(self) -> dict[str, Any]:
        """Return the rollouts."""
        return self.rollouts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rollouts."""
        self.rollouts.load_state_dict(state)

    @staticmethod
    def sampled(config: HistoryConfig, sections: int) -> Sampled:
        """All sections but the last, once in so many batches."""
        return OwnRollouts.sampled(config.rollout, sections, last=False)


def _name(video: Tensor) -> str:
    """Name of a video by its content: batches need not say which videos they hold."""
    content = video.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(content.data, digest_size=16).hexdigest()
