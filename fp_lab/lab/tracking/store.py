"""MLflow's client, which may not answer now."""

import logging
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from fp_data.damaged import set_aside
from fp_lab.lab.locking import only_one

EXPERIMENT = "fp_lab"

_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
_ATTEMPTS = 4
"""How often MLflow tries to open a data base: after 0.1, 0.3 and 0.7 s; of itself ten times, for 100 s."""
_ASK_AGAIN = 20.0  # seconds after a call that failed

T = TypeVar("T")


class Unreachable(Exception):
    """MLflow does not answer, or refuses."""


class Store:
    """A tracking store.

    Args:
        runs: folder of runs; the store is ``mlflow.db`` in it, unless MLFLOW_TRACKING_URI names another.
        say: hears that the store does not answer, and that it does again.
    """

    def __init__(self, runs: Path, say: Callable[[str], None]) -> None:
        self._database = (runs / "mlflow.db").resolve()
        self.uri = os.environ.get(_URI_VARIABLE) or f"sqlite:///{self._database}"
        self._runs, self._say = runs, say
        self._client: Any = None
        self._experiment = ""
        self._told = False
        self._ask_at = 0.0

    @property
    def exists(self) -> bool:
        """Whether there is anything to ask: a server, or a data base that was made before."""
        return bool(os.environ.get(_URI_VARIABLE)) or self._database.exists()

    def ask(self, question: Callable[[Any], T]) -> T:
        """Call MLflow's client.

        Raises:
            Unreachable: it fails now, or has failed a moment ago.
        """
        if time.monotonic() < self._ask_at:
            raise Unreachable(self.uri)
        try:
            if self._client is None:
                self._connect()
            answer = question(self._client)
        except Exception as error:  # of the network, the data base, the server: work goes on all the same
            self._ask_at = time.monotonic() + _ASK_AGAIN
            if not self._told:
                self._say(_no_answer(self.uri, error))
            self._told = True
            raise Unreachable(self.uri) from error
        if self._told:
            self._say(f"MLflow at {self.uri} answers again.")
            self._told = False
        return answer

    def search(self, tag: str, value: str) -> list[Any]:
        """MLflow's runs with a tag."""
        found: list[Any] = []
        quote = '"' if "'" in value else "'"
        where, token = f"tags.`{tag}` = {quote}{value}{quote}", None
        while token is None or token:
            page = self.ask(_page(self.experiment, where, token))
            found += page
            token = page.token or ""
        return found

    def find_or_create(self, tag: str, value: str, name: str, tags: Mapping[str, str]) -> Any:
        """MLflow's run with a tag; created under a lock, so that two processes get the same one."""
        experiment = self.experiment  # connecting takes the same lock
        with only_one(self._runs / "mlflow.lock"):
            found = self.search(tag, value)
            if found:
                return found[0]
            own = {tag: value, "mlflow.source.name": "fp-lab", **tags}
            return self.ask(lambda client: client.create_run(experiment, tags=own, run_name=name))

    @property
    def experiment(self) -> str:
        """Id of the experiment."""
        if self._client is None:
            self.ask(lambda client: None)
        return self._experiment

    def _connect(self) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        with warnings.catch_warnings(), only_one(self._runs / "mlflow.lock"):
            warnings.simplefilter("ignore")  # of MLflow's tables and settings: none of a user's business
            from mlflow import MlflowClient

            for name in ("alembic", "mlflow"):
                logging.getLogger(name).setLevel(logging.WARNING)
            if not self.uri.startswith("http"):
                from mlflow.store.db import utils

                utils.MAX_RETRY_COUNT = _ATTEMPTS
                logging.getLogger(utils.__name__).setLevel(logging.ERROR)  # what fails is said by `ask`
            if not os.environ.get(_URI_VARIABLE):
                if fault := _fault(self._database):
                    kept = set_aside(self._database)
                    self._say(
                        f"{self._database}: {fault}; it is now {kept.name}, and MLflow begins a new one"
                    )
                _make_database(self._database, lambda path: MlflowClient(f"sqlite:///{path}"))
            client = MlflowClient(self.uri)
            self._experiment = _experiment(client, self._runs)
            self._client = client


def _fault(path: Path) -> str:
    """What is wrong with a data base of MLflow's that is there; empty if nothing is, or another is at it."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(path)) as base:
            (answer,) = base.execute("PRAGMA quick_check(1)").fetchone()
            tables = base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})"
    return f"is damaged ({answer})" if answer != "ok" else "" if tables else "is empty"


def _make_database(path: Path, open_at: Callable[[Path], Any]) -> None:
    """MLflow makes its tables in many steps, and cannot go on when it was killed between two of them."""
    if path.exists():
        return
    for left in path.parent.glob(f".*.{path.name}"):
        left.unlink()
    unfinished = path.with_name(f".{uuid4().hex}.{path.name}")  # MLflow keeps what it has opened by name
    open_at(unfinished).search_experiments()
    unfinished.replace(path)


def _page(experiment: str, where: str, token: str | None) -> Callable[[Any], Any]:
    return lambda client: client.search_runs([experiment], where, page_token=token)


def _no_answer(uri: str, error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0][:200]
    return (
        f"MLflow at {uri} does not answer ({type(error).__name__}: {line}). Work goes on; what it misses "
        "is in the folders of the runs and is sent when it answers."
    )


def _experiment(client: Any, runs: Path) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return str(known.experiment_id)
    # a server knows best where its artifacts go; our own store would put them into the working directory
    location = None if os.environ.get(_URI_VARIABLE) else (runs / "mlartifacts").resolve().as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))
