"""What a claim is, and what checking one gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fp_lab.lab.compare.comparison import Comparison
from fp_lab.lab.compare.paired_values import Figure, Panel
from fp_lab.lab.compare.paper import paper
from fp_lab.lab.results.arms import Arm
from fp_metrics.statistics import CLAIM_CLUSTERS, LEAST_SEEDS

Status = Literal["reproduced", "toy", "not reproduced", "inconclusive", "not measured"]
"""``toy``: reproduced by models of the toy world, which says nothing yet about 13B."""
Kind = Literal["exact", "empirical", "declared"]


@dataclass(frozen=True)
class Difference:
    """One effect that a claim speaks of, turned so that above 0 agrees with the claim.

    Attributes:
        name: the score, and the arms where a claim is about several.
        mean: of the effect, in the score's unit.
        low: of its 95 % interval.
        high: of its 95 % interval.
        certain: whether it is above 0 even after Bonferroni's correction for all effects of the claim.
        opposed: whether it is below 0 likewise.
        detectable: the smallest true effect that would be found with a probability of 80 %.
        clusters: prompts behind it.
    """

    name: str
    mean: float
    low: float
    high: float
    certain: bool
    opposed: bool
    detectable: float
    clusters: int

    @property
    def supported(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low > 0

    @property
    def text(self) -> str:
        """The effect with its interval."""
        return f"{self.name} {self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


@dataclass(frozen=True)
class Outcome:
    """The result of a check.

    Attributes:
        status: what can be said.
        evidence: figures, or why there are none, in words.
        differences: effects behind an empirical claim.
    """

    status: Status
    evidence: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, eq=False)
class Evidence:
    """What empirical claims are checked on.

    Attributes:
        comparison: of the runs; None where no runs were named.
    """

    comparison: Comparison | None = None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms with history; none without runs."""
        return self.comparison.gathered.ranked if self.comparison else ()

    @property
    def frames(self) -> int:
        """Length of the videos, the horizon of every drift; 0 without runs."""
        return int(self.comparison.gathered.protocol["frames"]) if self.comparison else 0

    def own_name(self, arm: Arm) -> str:
        """An arm's name without the length of its videos, which all arms share."""
        return arm.name.replace(f"--evaluation.frames={self.frames}", "")

    @property
    def packed(self) -> tuple[Arm, ...]:
        """Arms that are a recipe and nothing else: no baseline, no further setting."""
        return tuple(arm for arm in self.arms if self.own_name(arm) == str(arm.recipe))

    @property
    def baselines(self) -> tuple[Arm, ...]:
        """The alternative architectures that the paper's Table 2 compares with."""
        named = {row.name for row in paper().table("table2").rows}
        own = ((arm, arm.name.partition("--")[0]) for arm in self.arms)
        return tuple(arm for arm, name in own if name in named and name != str(arm.recipe))

    @cached_property
    def scores(self) -> dict[str, str]:
        """Score -> estimator of the first family; undefined ones are left out."""
        assert self.comparison is not None
        gathered = self.comparison.gathered
        videos = gathered.videos
        defined = set(videos.loc[videos["value"].notna(), "estimator"].astype(str))
        return {s: e for s, e in gathered.estimators(gathered.families[0]).items() if e in defined}

    def panel(self, score: str, figure: Figure) -> Panel:
        """A figure of a score; scores are turned so that more is better, drifts are sizes: less is better."""
        assert self.comparison is not None
        estimator = self.scores[score]
        panel = self.comparison.panels.panel(estimator, figure)
        worse = self.comparison.gathered.measures[estimator].higher_is_better is False
        return panel.turned if worse and figure == "value" else panel

    @property
    def scope(self) -> str:
        """What an empirical status is about."""
        if self.comparison is None:
            return ""
        basis = self.comparison.gathered.basis
        if not basis.over_seeds:
            needed = f"a claim about recipes needs {LEAST_SEEDS} of every arm"
            return f"about these trained models ({basis.counts}; {needed})"
        return f"about the recipes ({basis.counts})"

    @property
    def toy(self) -> bool:
        """Whether some of the runs say nothing of a large model, see `base_origin.is_toy`."""
        return self.comparison is not None and any(
            facts.toy for facts in self.comparison.gathered.index.runs.values()
        )

    @cached_property
    def doubt(self) -> str:
        """Why nothing empirical can be decided from these runs; empty where it can."""
        assert self.comparison is not None
        controls = [arm for arm in self.comparison.gathered.arms if arm.control]
        prompts = len(self.panel(next(iter(self.scores)), "value").prompts) if self.scores else 0
        if prompts < CLAIM_CLUSTERS:
            return f"a claim needs {CLAIM_CLUSTERS} prompts, these runs have {prompts}"
        if not controls:
            return "no positive control (an arm without history) is among the runs"
        if not self._tells_control():
            return "the runs do not tell their positive control, no history, from most arms"
        return ""

    def _tells_control(self) -> bool:
        """Whether in some score the control is significantly worse than more than half of the arms."""
        assert self.comparison is not None
        measures = self.comparison.gathered.measures
        worse: dict[str, set[str]] = {}
        for made in self.comparison.verdict.control_contrasts:
            falling = measures[self.scores.get(made.column, f"companion/{made.column}")].higher_is_better
            below = made.difference.mean < 0 if falling is not False else made.difference.mean > 0
            if made.significant and below:
                worse.setdefault(made.column, set()).add(made.second)
        return max(map(len, worse.values()), default=0) > len(self.arms) / 2


Check = Callable[[Evidence], Outcome]


@dataclass(frozen=True)
class Claim:
    """Something that the paper or its project says, and how it is checked.

    Attributes:
        id: row of the feature table such as ``M1``, or a finding such as ``table1/tails``.
        source: where it is said.
        text: what is said.
        kind: ``exact`` (arithmetic), ``empirical`` (from runs), ``declared`` (not measured by this lab yet).
        rule: when it counts as reproduced.
        command: that measures it.
        check: does so.
    """

    id: str
    source: str
    text: str
    kind: Kind
    rule: str
    command: str
    check: Check


@dataclass(frozen=True)
class Checked:
    """A claim and what came of it."""

    claim: Claim
    outcome: Outcome


def names(arms: Sequence[Arm]) -> list[str]:
    """Of arms."""
    return [arm.name for arm in arms]
