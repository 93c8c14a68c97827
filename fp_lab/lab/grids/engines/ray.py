"""Engine that runs arms on a Ray cluster: an existing one, or a new one on this machine.

The folder of runs has to be on a file system that all nodes share, under the same path.
https://docs.ray.io/en/latest/ray-core/fault-tolerance.html
"""

import logging
import math
import os
from collections.abc import Mapping
from typing import Any

from fp_lab.lab.grids.engines.engine import Engine
from fp_lab.lab.grids.engines.journaled import run_journaled_job
from fp_lab.lab.grids.engines.restarting import Lost, RestartingEngine
from fp_lab.lab.runs.job import Job, Outcome

_OPTIONS = ("address", "num_gpus")


class RayCluster(RestartingEngine[Any]):
    """Runs each arm as a Ray task with as many CPUs as its config has threads.

    Args:
        workers: number of parallel arms; None: as many as Ray has resources for.
        options: ``address`` of a cluster (by default ``RAY_ADDRESS``, else a new one on this machine) and
            ``num_gpus`` per arm (by default one for each device of an arm with ``accelerator: gpu``).

    Raises:
        ValueError: Ray is not installed, or an option or value is unknown.
    """

    def __init__(self, workers: int | None, options: Mapping[str, str]) -> None:
        super().__init__(workers)
        unknown = [name for name in options if name not in _OPTIONS]
        if unknown:
            raise ValueError(
                f"the engine ray has the options {', '.join(_OPTIONS)}, got {', '.join(unknown)}"
            )
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ValueError("the engine ray needs Ray: pip install -e '.[ray]'") from error
        self._ray, self._address = ray, options.get("address")
        self._gpus = _number_of_gpus(options["num_gpus"]) if "num_gpus" in options else None
        self._mine = False
        # a lost worker is begun again by `RestartingEngine`, which says so
        self._work = ray.remote(max_calls=0, max_retries=0)(run_journaled_job)

    def __enter__(self) -> Engine:
        """Join the cluster, or start one."""
        self._mine = not self._ray.is_initialized()
        if self._mine:
            self._ray.init(
                address=self._address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": _environment()},
            )
        return self

    def _start(self, job: Job) -> Any:
        training = job.config.training
        own = training.devices if training.accelerator == "gpu" else 0
        gpus = own if self._gpus is None else self._gpus
        room = {"num_cpus": training.threads * training.devices, "num_gpus": gpus}
        return self._work.options(name=job.label, **room).remote(job)

    def _look(self, handle: Any) -> Outcome | Lost | None:
        ready, _ = self._ray.wait([handle], timeout=0)
        if not ready:
            return None
        try:
            outcome: Outcome = self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            return Lost(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        return outcome

    def close(self) -> None:
        """Cancel running tasks; leave an existing cluster running."""
        for handle in self._handles:
            self._ray.cancel(handle, force=True)
        self._running = []
        if self._mine:
            self._ray.shutdown()


def _number_of_gpus(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"--option: got num_gpus={text}, expected a number of GPUs such as 1 or 0.5")
    return number


def _environment() -> dict[str, str]:
    """Environment variables that workers need from this process."""
    names = ("FP_LAB_CACHE", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "PYTHONPATH")
    return {name: os.environ[name] for name in names if name in os.environ}
