"""The paper's estimators: VBench's networks with their published weights, and what VBench alone can measure.

`PAPER` follows the published rules without their known defects; `PAPER_VBENCH_COMPAT` repeats the defects of
the public code, for figures to stand beside published ones. Their figures never share a column.
"""

from fp_metrics.estimator import Estimator
from fp_metrics.families.paper.aesthetic import LaionAesthetic
from fp_metrics.families.paper.clarity import MusiqSpaq
from fp_metrics.families.paper.dynamic import RaftDynamicDegree, RaftTopFlow
from fp_metrics.families.paper.elsewhere import ELSEWHERE

_VBENCH: tuple[type[Estimator], ...] = (MusiqSpaq, LaionAesthetic, RaftDynamicDegree, *ELSEWHERE)

PAPER: dict[str, type[Estimator]] = {kind.name: kind for kind in _VBENCH} | {RaftTopFlow.name: RaftTopFlow}
"""Estimator name -> class."""


def _repeating_defects(kind: type[Estimator], family: str = "paper_vbench_compat") -> type[Estimator]:
    name = kind.name.replace(kind.family, family, 1)
    changes = {"family": family, "name": name, "vbench_compat": True, "__module__": __name__}
    return type(f"{kind.__name__}VbenchCompat", (kind,), {"__doc__": kind.__doc__} | changes)


PAPER_VBENCH_COMPAT: dict[str, type[Estimator]] = {
    kind.name: kind for kind in map(_repeating_defects, _VBENCH)
}
"""Estimator name -> class."""
