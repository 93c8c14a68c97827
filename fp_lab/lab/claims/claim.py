"""Claims, and the outcomes of their checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fp_lab.lab.compare.comparison import Comparison
from fp_lab.lab.compare.paired_values import Panel, Statistic
from fp_lab.lab.compare.paper_values import paper
from fp_lab.lab.results.arms import Arm
from fp_metrics.intervals import CLAIM_CLUSTERS, LEAST_SEEDS

Status = Literal["reproduced", "toy", "not reproduced", "inconclusive", "not measured"]
"""Status of a claim; ``toy``: reproduced by models of the toy world, which tells nothing yet about 13B."""
Kind = Literal["exact", "empirical", "declared"]


@dataclass(frozen=True)
class Difference:
    """One effect that a claim is about, signed so that values above 0 agree with the claim.

    Attributes:
        name: name of the score, with the arms where a claim is about several.
        mean: mean of the effect, in the score's unit.
        low: lower bound of the 95 % interval.
        high: upper bound of the 95 % interval.
        certain: whether the interval is above 0 even after Bonferroni's correction for all effects of the
            claim.
        opposed: whether the interval is below 0 even after that correction.
        detectable: smallest true effect that would be found with a probability of 80 %.
        clusters: number of prompts behind it.
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
        """Effect with its interval, in words."""
        return f"{self.name} {self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a check.

    Attributes:
        status: conclusion on the claim.
        evidence: values in words, or why there are none.
        differences: effects behind an empirical claim.
    """

    status: Status
    evidence: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence for empirical claims.

    Attributes:
        comparison: comparison of the runs; None without runs.
    """

    comparison: Comparison | None = None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms with history; none without runs."""
        return self.comparison.gathered.ranked if self.comparison else ()

    @property
    def frames(self) -> int:
        """Length of the videos in frames, the horizon of every drift; 0 without runs."""
        return int(self.comparison.gathered.protocol["frames"]) if self.comparison else 0

    def own_name(self, arm: Arm) -> str:
        """Return an arm's name without the length of its videos, which all arms share."""
        return arm.name.replace(f"--evaluation.frames={self.frames}", "")

    @property
    def packed(self) -> tuple[Arm, ...]:
        """Arms of a plain recipe: no baseline, no further setting."""
        return tuple(arm for arm in self.arms if self.own_name(arm) == str(arm.recipe))

    @property
    def baselines(self) -> tuple[Arm, ...]:
        """Baselines, the alternative architectures of the paper's Table 2."""
        named = {row.name for row in paper().table("table2").rows}
        own = ((arm, arm.name.partition("--")[0]) for arm in self.arms)
        return tuple(arm for arm, name in own if name in named and name != str(arm.recipe))

    @cached_property
    def scores(self) -> dict[str, str]:
        """Return score -> estimator of the first family, without undefined ones."""
        assert self.comparison is not None
        gathered = self.comparison.gathered
        videos = gathered.videos
        defined = set(videos.loc[videos["value"].notna(), "estimator"].astype(str))
        return {s: e for s, e in gathered.estimators(gathered.families[0]).items() if e in defined}

    def panel(self, score: str, figure: Statistic) -> Panel:
        """Return a score's panel, signed so that more is better, or of its drift size: less is better."""
        assert self.comparison is not None
        estimator = self.scores[score]
        panel = self.comparison.panels.panel(estimator, figure)
        worse = self.comparison.gathered.measures[estimator].higher_is_better is False
        return panel.negated if worse and figure == "value" else panel

    @property
    def scope(self) -> str:
        """Scope of an empirical status."""
        if self.comparison is None:
            return ""
        basis = self.comparison.gathered.basis
        if not basis.over_seeds:
            needed = f"a claim about recipes needs {LEAST_SEEDS} of every arm"
            return f"about these trained models ({basis.counts}; {needed})"
        return f"about the recipes ({basis.counts})"

    @property
    def toy(self) -> bool:
        """Whether some of the runs tell nothing about large models, see `base_origin.is_toy`."""
        return self.comparison is not None and any(
            facts.toy for facts in self.comparison.gathered.index.runs.values()
        )

    @cached_property
    def doubt(self) -> str:
        """Reason why these runs decide nothing empirical; empty where they can."""
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
        """Return whether the control is significantly worse than more than half of the arms in some score."""
        assert self.comparison is not None
        gathered = self.comparison.gathered
        estimators = gathered.estimators(gathered.families[0])  # undefined ones too: they have contrasts
        worse: dict[str, set[str]] = {}
        for made in self.comparison.verdict.control_contrasts:
            estimator = estimators.get(made.column, f"companion/{made.column}")
            falling = gathered.measures[estimator].higher_is_better
            below = made.difference.mean < 0 if falling is not False else made.difference.mean > 0
            if made.significant and below:
                worse.setdefault(made.column, set()).add(made.second)
        return max(map(len, worse.values()), default=0) > len(self.arms) / 2


Check = Callable[[Evidence], Outcome]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper or its project, with its check.

    Attributes:
        id: row of the feature table such as ``M1``, or finding such as ``table1/tails``.
        source: source of the statement.
        text: statement in words.
        kind: ``exact`` (arithmetic), ``empirical`` (from runs), ``declared`` (not measured by this lab yet).
        rule: condition of reproduction.
        command: command that measures it.
        check: function that checks it on evidence.
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
    """A claim with its outcome."""

    claim: Claim
    outcome: Outcome


def names(arms: Sequence[Arm]) -> list[str]:
    """Names of arms."""
    return [arm.name for arm in arms]
