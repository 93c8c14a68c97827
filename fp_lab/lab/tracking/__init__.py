"""Tracking of grids and arms in MLflow. Only this package uses MLflow, imported when a store is opened.

MLflow is a view of the run folders: where it does not answer, work goes on, and missed data are sent when it
answers again or when the same command is called again.
"""

from fp_lab.lab.tracking.mlflow_run import (
    CHECKPOINTS_TAG,
    RESULTS_TAG,
    WITHOUT_ROLLOUT_TAG,
    TrackedRun,
)
from fp_lab.lab.tracking.store import Unreachable
from fp_lab.lab.tracking.tracker import Child, Tracker

__all__ = [
    "CHECKPOINTS_TAG",
    "RESULTS_TAG",
    "WITHOUT_ROLLOUT_TAG",
    "Child",
    "TrackedRun",
    "Tracker",
    "Unreachable",
]
