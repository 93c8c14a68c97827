"""True histories that the model has resampled from a noise level in between."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import HISTORY_SOURCES
from fp_lab.flow.matching import FlowConfig, draw_sigmas, interpolate, to_velocity
from fp_lab.packing.assemble import Arrangement, arrange_videos, assemble
from fp_lab.recipe.lengths import trained_part
from fp_lab.recipe.orders import Section
from fp_lab.training.history.source import HistorySource, Sampled, TrainingStep


@HISTORY_SOURCES.register("resampled")
class ResampledHistory(HistorySource):
    """True history whose latest section was noised and brought back by the current model.

    x_ts = (1 - t_s) x + t_s eps with t_s logit-normal (`mean`, `std`), one per video; then `steps` Euler
    steps x <- x + (t' - t) v(x, t) from t_s down to 0 without gradients, on the true history before it. At
    t_s = 0 the history is the true one.

    Source: Resampling Forcing (https://arxiv.org/abs/2512.15702), as reviews tell it (second-hand): there
    every frame is resampled, each on the resampled ones before it. Here it is the section that the plan makes
    right before the one to learn, from which most of the finest context comes: one more forward pass per step
    then does, whatever the length of the video. A first section has a true history.
    """

    needs_plan = True

    def resample(self, step: TrainingStep, arrangements: Sequence[Arrangement]) -> Tensor | None:
        """Return the true videos with one section of each resampled."""
        frames = step.latents.shape[2]
        plans = [(given, step.plan.sections(frames, given)) for given in step.plan.given]
        groups: dict[tuple[int, int], list[tuple[int, Section]]] = {}
        for row, arrangement in enumerate(arrangements):
            for given, plan in plans:
                before = _before(plan, arrangement.targets)
                if before is not None:  # sections of one length at once
                    groups.setdefault((given, len(before.targets)), []).append((row, before))
                    break
        if not groups:
            return None
        history = step.latents.clone()
        with step.sampling():
            for (given, _), found in groups.items():
                rows, sections = [row for row, _ in found], [section for _, section in found]
                made = self._resampled(step, rows, sections, given)
                for row, section, latents in zip(rows, sections, made, strict=True):
                    history[row][:, list(section.targets)] = latents
        return history

    def _resampled(
        self, step: TrainingStep, rows: list[int], sections: Sequence[Section], given: int
    ) -> Tensor:
        """Resample one section of each of some videos of a step, of equal length, ``b c t h w``."""
        model, plan, settings = step.model, step.plan, self.config.resampled
        latents = step.latents[rows]
        length = trained_part(plan.recipe.section, latents.shape[2], given)
        arranged = arrange_videos(plan.recipe, sections, latents[:, :, :length], model.context)
        sample = assemble(latents, arranged, model.context.missing)
        captions = [step.captions[row] for row in rows]
        images = None if step.images is None else step.images[rows]
        text = model.backbone.encode_text(captions, images, step.objective.distilled_guidance)
        told = latents.new_zeros(len(rows)) if model.context.timestep == "level" else None
        context = model.memory_of(model.pack(sample.context, told), text)
        section = model.prepare(sample.times, (latents.shape[3], latents.shape[4]), text, context)
        start = draw_sigmas(len(rows), 1.0, FlowConfig(mean=settings.mean, std=settings.std), step.own)
        start = start.to(latents)
        noise = torch.randn(sample.target.shape, generator=step.own).to(latents)
        x = interpolate(sample.target, noise, start)
        for index in range(settings.steps):
            sigmas = start * (1 - index / settings.steps)
            velocity = to_velocity(model.denoise(x, sigmas, section), x, sigmas, model.output)
            # t' - t is -t_s / steps, per video
            x = x - (start / settings.steps)[:, None, None, None, None] * velocity
        return x.to(latents)

    @staticmethod
    def sampled(config: HistoryConfig, sections: int) -> Sampled:
        """Every section but the last is right before another, which is drawn once in `sections` times."""
        return Sampled((*[1 / sections] * (sections - 1), 0.0), config.resampled.steps)


def _before(plan: Sequence[Section], targets: tuple[int, ...]) -> Section | None:
    """Section that a plan makes right before that with some targets; None where there is none."""
    places = [index for index, section in enumerate(plan) if section.targets == targets]
    return plan[places[0] - 1] if places and places[0] else None
