"""Where the arms of a grid are done: here, in local processes, on a Ray cluster, by SLURM."""

from fp_lab.lab.engines.choice import ENGINES, make_engine
from fp_lab.lab.engines.here import Here
from fp_lab.lab.engines.protocol import ATTEMPTS, Engine

__all__ = ["ATTEMPTS", "ENGINES", "Engine", "Here", "make_engine"]
