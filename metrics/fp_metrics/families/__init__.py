"""Families of estimators; figures of different families never share a column."""

from fp_metrics.estimator import Estimator
from fp_metrics.families.plain import PLAIN
from fp_metrics.families.world import WORLD

FAMILIES: dict[str, dict[str, type[Estimator]]] = {"plain": PLAIN, "world": WORLD}
"""Family -> estimator name -> class."""
