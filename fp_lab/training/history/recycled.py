"""The model's own one-step errors, kept in a bank and added to true histories."""

from collections import deque
from typing import Any

import torch
from torch import Generator, Tensor

from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import HISTORY_SOURCES, RecycledConfig
from fp_lab.training.history.source import HistorySource, Prediction, TrainingStep, Videos


class ErrorBank:
    """Errors of sections ``c t h w`` by noise level, the oldest of a bin out first, on the CPU.

    Errors of latents of different sizes (buckets) have bins of their own, `bins` x `entries` each.
    """

    def __init__(self, config: RecycledConfig) -> None:
        self.config = config
        self.kept: dict[tuple[int, int, int], list[deque[Tensor]]] = {}

    def __len__(self) -> int:
        """Return the number of errors."""
        return sum(len(one) for bins in self.kept.values() for one in bins)

    @property
    def bytes(self) -> int:
        """Bytes of all errors."""
        return sum(error.nbytes for bins in self.kept.values() for one in bins for error in one)

    def put(self, error: Tensor, sigma: float) -> None:
        """Keep the error ``c t h w`` of a section at a noise level in [0, 1]."""
        bins = self._of_size(error)
        # a view would keep the whole batch alive
        bins[min(int(sigma * len(bins)), len(bins) - 1)].append(error.clone())

    def draw(self, latents: Tensor, generator: Generator) -> Tensor | None:
        """Return an error for latents ``c t h w``, all kept ones as likely; None while there is none.

        Sections are shorter than histories: the frames of one error follow each other from a random one on,
        over and over.
        """
        bins = self._of_size(latents)
        if not (count := sum(map(len, bins))):
            return None
        pick = int(torch.randint(count, (), generator=generator))
        for one in bins:
            if pick < len(one):
                break
            pick -= len(one)
        error = one[pick]
        frames = torch.randint(error.shape[1], (), generator=generator) + torch.arange(latents.shape[1])
        return error[:, frames % error.shape[1]].to(latents)

    def _of_size(self, latents: Tensor) -> list[deque[Tensor]]:
        channels, _, rows, columns = latents.shape
        empty = [deque[Tensor](maxlen=self.config.entries) for _ in range(self.config.bins)]
        return self.kept.setdefault((channels, rows, columns), empty)

    def state_dict(self) -> dict[str, Any]:
        """Return errors of one shape as one tensor, with the bin of each; within a bin by age."""
        parts: dict[tuple[int, ...], list[tuple[int, int, Tensor]]] = {}
        for bins in self.kept.values():
            for index, one in enumerate(bins):
                for age, error in enumerate(one):
                    parts.setdefault(tuple(error.shape), []).append((index, age, error))
        return {
            "errors": [torch.stack([error for _, _, error in part]) for part in parts.values()],
            "places": [[[index, age] for index, age, _ in part] for part in parts.values()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the errors."""
        self.kept.clear()
        rows = [
            (index, age, error)
            for errors, places in zip(state["errors"], state["places"], strict=True)
            for (index, age), error in zip(places, errors, strict=True)
        ]
        for index, _, error in sorted(rows, key=lambda row: row[:2]):
            self._of_size(error)[index].append(error.clone())


@HISTORY_SOURCES.register("recycled")
class RecycledHistory(HistorySource):
    """True history plus an error that the model itself has made, from a bank.

    The error of a training prediction is E = x0_hat - x0 with x0_hat = x_t - sigma v, one Euler step to 0.
    It is kept by noise level in `bins` bins of `entries`, the oldest out first. A history becomes x + E, with
    E drawn from all kept errors. A share `clean` of all videos gets no error, and theirs are not kept; of the
    others a share `share` gets one. While the bank is empty, histories are the true ones.

    Source: Error-Recycling Fine-Tuning of Stable Video Infinity (https://arxiv.org/abs/2510.09212), and its
    code, of which this has the errors on the condition: there too they are drawn from all bins, as
    consecutive frames of one error. Its errors on the noisy section and on the noise are left out, so that
    section and target stay those of the other sources. Its code replaces the most similar error of a full
    bin, or the oldest, and keeps the errors of one clean video in ten.
    """

    def __init__(self, config: HistoryConfig) -> None:
        super().__init__(config)
        self.bank = ErrorBank(config.recycled)
        self._clean = torch.ones(0, dtype=torch.bool)

    def videos(self, step: TrainingStep) -> Videos:
        """Return histories with errors."""
        settings, latents = self.config.recycled, step.latents
        self._clean = torch.rand(len(latents), generator=step.own) < settings.clean
        chosen = torch.rand(len(latents), generator=step.own) < settings.share
        history = latents
        for row in (chosen & ~self._clean).nonzero()[:, 0].tolist():
            if (error := self.bank.draw(latents[row], step.own)) is not None:
                history = latents.clone() if history is latents else history
                history[row] += error
        return Videos(history, latents)

    def observe(self, step: TrainingStep, prediction: Prediction) -> None:
        """Keep the errors of videos that were not to be clean."""
        if not step.learning:
            return
        errors, sigmas = prediction.error.float().cpu(), prediction.sigmas.tolist()
        for row in (~self._clean).nonzero()[:, 0].tolist():
            self.bank.put(errors[row], sigmas[row])

    def state_dict(self) -> dict[str, Any]:
        """Return the bank."""
        return self.bank.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the bank."""
        self.bank.load_state_dict(state)
