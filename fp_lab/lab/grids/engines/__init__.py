"""Engines that run the arms of a grid: in this process, in local processes, on a Ray cluster, by SLURM."""

from fp_lab.lab.grids.engines.choose import ENGINES, make_engine
from fp_lab.lab.grids.engines.engine import Engine
from fp_lab.lab.grids.engines.in_process import InProcess
from fp_lab.lab.grids.engines.restarting import ATTEMPTS

__all__ = ["ATTEMPTS", "ENGINES", "Engine", "InProcess", "make_engine"]
