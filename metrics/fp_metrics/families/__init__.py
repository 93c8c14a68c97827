"""Families of estimators; figures of different families never share a column."""

from fp_metrics.estimator import Estimator
from fp_metrics.families.offline import OFFLINE
from fp_metrics.families.paper import PAPER, PAPER_VBENCH_COMPAT
from fp_metrics.families.plain import PLAIN
from fp_metrics.families.probe import PROBE
from fp_metrics.families.world import WORLD

FAMILIES: dict[str, dict[str, type[Estimator]]] = {
    "plain": PLAIN,
    "offline": OFFLINE,
    "paper": PAPER,
    "paper_vbench_compat": PAPER_VBENCH_COMPAT,
    "probe": PROBE,
    "world": WORLD,
}
"""Family -> estimator name -> class."""
