"""Panels of paired values: a row per arm, a column per shared video."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fp_lab.lab.results.resampling_units import ResamplingUnits
from fp_lab.lab.scoring.files import clusters
from fp_metrics.effects import Effects, effects_of
from fp_metrics.intervals import Interval

Statistic = Literal[
    "value", "drift", "drift_size", "drift_given", "drift_given_size", "start_given", "exposure_gap"
]
_COLUMNS: dict[Statistic, tuple[str, str]] = {
    "value": ("value", "reason"),
    "drift": ("drift", "drift_reason"),
    "drift_size": ("drift", "drift_reason"),
    "drift_given": ("drift_given", "given_reason"),
    "drift_given_size": ("drift_given", "given_reason"),
    "start_given": ("start_given", "given_reason"),
    "exposure_gap": ("exposure_gap", "exposure_reason"),
}


@dataclass(frozen=True, eq=False)
class Panel:
    """One statistic of one estimator, for all arms.

    Attributes:
        arms: arms measured by the estimator.
        prompts: clusters, in order of appearance.
        values: values ``(arms, training seeds, videos)``; NaN where a training seed or a video is missing, or
            the value is undefined.
        prompt_of: index of each video's prompt, ``(videos,)``.
        over_seeds: whether training seeds are draws beside prompts, see `ResamplingUnits`.
    """

    arms: tuple[str, ...]
    prompts: tuple[str, ...]
    values: NDArray[np.float64]
    prompt_of: NDArray[np.int64]
    over_seeds: bool = False

    @cached_property
    def rows(self) -> dict[str, int]:
        """Return arm -> row index."""
        return {arm: row for row, arm in enumerate(self.arms)}

    @property
    def magnitudes(self) -> "Panel":
        """Panel of absolute values."""
        return replace(self, values=np.abs(self.values))

    @property
    def negated(self) -> "Panel":
        """Panel with opposite signs."""
        return replace(self, values=-self.values)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Return arm -> mean over prompts with its interval."""
        return dict(zip(self.arms, self.effects(self.values).intervals(), strict=True))

    def effects(self, values: NDArray[np.float64]) -> Effects:
        """Average values ``(n, training seeds, videos)``, like `values`, over training seeds and prompts."""
        return effects_of(self.by_prompt(values), over_seeds=self.over_seeds)

    def of(self, arms: Sequence[str]) -> NDArray[np.float64]:
        """Select the values of arms, ``(arms, training seeds, videos)``."""
        return self.values[[self.rows[arm] for arm in arms]]

    def differences(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> Effects:
        """Compute first minus second, over the videos that both have, see `effects_of`.

        Args:
            first: values ``(n, training seeds, videos)``, of one arm each or of the mean of several.
            second: values to compare with, of the same shape.
        """
        shared = self.shared(first, second)
        return effects_of(
            *(self.by_prompt(np.where(shared[:, None], side, np.nan)) for side in (first, second)),
            over_seeds=self.over_seeds,
        )

    @staticmethod
    def shared(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mask of videos for which both sides have a value from some training, ``(n, videos)``."""
        return np.any(np.isfinite(first), axis=1) & np.any(np.isfinite(second), axis=1)

    def by_prompt(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average the defined values of each prompt, ``(..., prompts)``, from ``(..., videos)``."""
        member = (self.prompt_of[:, None] == np.arange(len(self.prompts))).astype(np.float64)
        known = np.isfinite(values)
        sums, counts = np.where(known, values, 0.0) @ member, known.astype(np.float64) @ member
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


class Panels:
    """Panels of all estimators and statistics, from rows of videos.

    Attributes:
        basis: units of resampling of all statistics.
    """

    def __init__(self, videos: pd.DataFrame, basis: ResamplingUnits | None = None) -> None:
        """Index the rows by arm, training seed and video.

        Args:
            videos: one row per arm, training seed, video and estimator. Videos of two arms are the same where
                prompt and seed agree.
            basis: units of resampling of the comparison; by default of these rows alone.
        """
        self._videos = videos
        self.basis = ResamplingUnits.of(videos) if basis is None else basis
        self._arm, arms = pd.factorize(videos["arm"])
        self._arms = tuple(map(str, arms))
        prompts = videos["prompt"] if videos["prompt"].astype(bool).all() else pd.Series(clusters(videos))
        cluster, names = pd.factorize(prompts)
        self._prompts = tuple(map(str, names))
        self._training, self._trainings = pd.factorize(videos["training_seed"], sort=True)
        seed, seeds = pd.factorize(videos["seed"], sort=True)
        self._video, known = pd.factorize(cluster * len(seeds) + seed, sort=True)
        self._prompt_of = known // len(seeds)
        estimator, found = pd.factorize(videos["estimator"])
        self._rows = {str(name): np.flatnonzero(estimator == code) for code, name in enumerate(found)}

    def __contains__(self, estimator: str) -> bool:
        return estimator in self._rows

    def panel(self, estimator: str, figure: Statistic) -> Panel:
        """Return a statistic of all arms measured by an estimator; without arms where it measured nothing."""
        rows = self._rows.get(estimator, np.empty(0, dtype=np.int64))
        values = np.full((len(self._arms), len(self._trainings), len(self._prompt_of)), np.nan)
        column = self._videos[_COLUMNS[figure][0]].to_numpy(np.float64)[rows]
        place = self._arm[rows], self._training[rows], self._video[rows]
        values[place] = np.abs(column) if figure.endswith("_size") else column
        measured = np.unique(self._arm[rows])
        arms = tuple(self._arms[code] for code in measured)
        return Panel(arms, self._prompts, values[measured], self._prompt_of, self.basis.over_seeds)

    def reasons(self, estimator: str, figure: Statistic) -> dict[str, str]:
        """Return arm -> reason why a statistic is undefined, for arms with videos without it."""
        rows = self._rows[estimator]
        reason, words = pd.factorize(self._videos[_COLUMNS[figure][1]].iloc[rows])  # -1 is none
        pairs = np.unique((self._arm[rows] * len(words) + reason)[reason >= 0]).tolist()
        told: dict[str, list[str]] = {}
        for arm, word in (divmod(pair, len(words)) for pair in pairs):
            told.setdefault(self._arms[arm], []).append(str(words[word]))
        return {arm: "; ".join(sorted(reasons)) for arm, reasons in told.items()}
