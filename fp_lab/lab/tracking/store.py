"""Tracking store behind MLflow's client, which may be unreachable."""

import logging
import os
import shlex
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from fp_data.damaged import set_aside
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.tracking.address import database_uri, mlflow_program

EXPERIMENT = "fp_lab"
GRID_TAG, FOLDER_TAG = "fp_lab.grid", "fp_lab.folder"
"""Tags with folders as values."""

_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
_ATTEMPTS = 4
"""Attempts of MLflow to open a database: after 0.1, 0.3 and 0.7 s; its default is ten, over 100 s."""
_ASK_AGAIN = 20.0  # seconds after a call that failed

T = TypeVar("T")


class Unreachable(Exception):
    """MLflow does not answer, or refuses; the message says which."""


class _Deleted(Exception):
    """The experiment was deleted, and may be restored; the argument is its id."""


class _NoAddress(Exception):
    """MLflow cannot make a client for the address; the argument says why."""


class Store:
    """A tracking store.

    Args:
        runs: folder of runs; the store is ``mlflow.db`` in it, unless MLFLOW_TRACKING_URI names another.
        say: called when the store does not answer, and when it does again.
    """

    def __init__(self, runs: Path, say: Callable[[str], None]) -> None:
        self._database = (runs / "mlflow.db").resolve()
        self._shared = os.environ.get(_URI_VARIABLE)
        self.uri = self._shared or database_uri(self._database)
        self._runs, self._say = runs, say
        self._client: Any = None
        self._experiment = ""
        self._told = ""
        self._ask_at = 0.0
        self.refuses = False
        """Whether the last call failed for a permanent reason: the address, or a deleted experiment."""

    @property
    def exists(self) -> bool:
        """Return whether there is a store: a server, or an existing database."""
        return bool(self._shared) or self._database.exists()

    def ask(self, question: Callable[[Any], T]) -> T:
        """Call MLflow's client.

        Raises:
            Unreachable: the call fails, or one has failed a moment ago.
        """
        if time.monotonic() < self._ask_at:
            raise Unreachable(self._told)
        try:
            if self._client is None:
                self._connect()
            answer = question(self._client)
        except Exception as error:  # of the network, the data base, the server: work goes on all the same
            self._ask_at = time.monotonic() + _ASK_AGAIN
            self.refuses = isinstance(error, _NoAddress | _Deleted)
            reason = _reason(self.uri, error)
            if not self._told:
                self._say(
                    f"{reason}. Work goes on; what MLflow misses is in the folders of the runs and is sent "
                    "when it answers."
                )
            self._told = reason
            raise Unreachable(reason) from error
        if self._told:
            self._say(f"MLflow at {self.uri} answers again.")
            self._told = ""
        return answer

    def search(self, tag: str, value: str) -> list[Any]:
        """Search MLflow's runs by a tag."""
        found: list[Any] = []
        quote = '"' if "'" in value else "'"
        where, token = f"tags.`{tag}` = {quote}{value}{quote}", None
        while token is None or token:
            page = self.ask(_page(self.experiment, where, token))
            found += page
            token = page.token or ""
        return found

    def find_or_create(self, tag: str, value: str, name: str, tags: Mapping[str, str]) -> Any:
        """Find MLflow's run with a tag, or create it under a lock, so that two processes get the same one."""
        experiment = self.experiment  # connecting takes the same lock
        with only_one(self._runs / "mlflow.lock"):
            found = self.search(tag, value)
            if found:
                return found[0]
            own = {tag: value, "mlflow.source.name": "fp-lab", **tags}
            return self.ask(lambda client: client.create_run(experiment, tags=own, run_name=name))

    @property
    def experiment(self) -> str:
        """Return the id of the experiment."""
        if self._client is None:
            self.ask(lambda client: None)
        return self._experiment

    def _connect(self) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        with warnings.catch_warnings(), only_one(self._runs / "mlflow.lock"):
            warnings.simplefilter("ignore")  # of MLflow's tables and settings: none of a user's business
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            for name in ("alembic", "mlflow"):
                logging.getLogger(name).setLevel(logging.WARNING)
            if not self.uri.startswith("http"):
                from mlflow.store.db import utils

                utils.MAX_RETRY_COUNT = _ATTEMPTS
                logging.getLogger(utils.__name__).setLevel(logging.ERROR)  # what fails is said by `ask`
            if not self._shared:
                # it takes what is escaped in the address for the name of a folder, and makes that
                utils._make_parent_dirs_if_sqlite = lambda db_uri: None
                if fault := _fault(self._database):
                    kept = set_aside(self._database)
                    self._say(
                        f"{self._database}: {fault}; it is now {kept.name}, and MLflow begins a new one"
                    )
                _make_database(self._database)
                _follow_a_move(self._database)
            try:
                client = MlflowClient(self.uri)
            except MlflowException as error:
                raise _NoAddress(_line(error)) from error
            # a server knows best where artifacts go; our own store would put them into the working directory
            location = None if self._shared else _artifacts(self._database)
            self._experiment = _experiment(client, location)
            self._client = client


def _fault(path: Path) -> str:
    """Fault of an existing MLflow database; empty if there is none, or if another process uses it."""
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


def _make_database(path: Path) -> None:
    """Create a database in one step: MLflow makes its tables in many, and cannot resume after a kill."""
    from mlflow import MlflowClient

    if path.exists():
        return
    for left in path.parent.glob(f".*.{path.name}"):
        left.unlink()
    unfinished = path.with_name(f".{uuid4().hex}.{path.name}")  # MLflow keeps what it has opened by name
    try:
        MlflowClient(database_uri(unfinished)).search_experiments()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _artifacts(database: Path) -> str:
    return (database.parent / "mlartifacts").as_uri()


def _follow_a_move(database: Path) -> None:
    """Update the stored folder of a database that was moved.

    MLflow stores absolute paths: it would still write artifacts into the old folder of runs.
    """
    now = _artifacts(database)
    with closing(sqlite3.connect(database)) as base, base:
        found = base.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        before = found[0] if found else now
        if before == now or not (before.startswith("file:///") and before.endswith("/mlartifacts")):
            return
        folders = [str(Path(unquote(urlsplit(uri).path)).parent) for uri in (before, now)]
        for column, was, becomes, where in (
            ("experiments.artifact_location", before, now, ""),
            ("runs.artifact_uri", before, now, ""),
            ("tags.value", *folders, f"AND key IN ('{GRID_TAG}', '{FOLDER_TAG}')"),
        ):
            table, _, name = column.partition(".")
            base.execute(
                f"UPDATE {table} SET {name} = ? || substr({name}, ?)"
                f" WHERE ({name} = ? OR substr({name}, 1, ?) = ?) {where}",
                (becomes, len(was) + 1, was, len(was) + 1, f"{was}/"),
            )


def _page(experiment: str, where: str, token: str | None) -> Callable[[Any], Any]:
    return lambda client: client.search_runs([experiment], where, page_token=token)


def _reason(uri: str, error: Exception) -> str:
    if isinstance(error, _Deleted):
        restore = f"{shlex.quote(mlflow_program())} experiments restore --experiment-id {error}"
        return (
            f"MLflow's experiment {EXPERIMENT} at {uri} is deleted; this restores it: "
            f"{_URI_VARIABLE}={shlex.quote(uri)} {restore}"
        )
    if isinstance(error, _NoAddress):
        wanted = "such as http://server:5000 or sqlite:////folder/mlflow.db"
        return f"{_URI_VARIABLE}: got {uri!r}, expected an address that MLflow takes, {wanted} ({error})"
    return f"MLflow at {uri} does not answer ({type(error).__name__}: {_line(error)})"


def _line(error: Exception) -> str:
    """First line of a message, shortened where long."""
    return (str(error).strip().splitlines() or [""])[0][:200]


def _experiment(client: Any, location: str | None) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is None:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    if known.lifecycle_stage != "active":
        raise _Deleted(known.experiment_id)
    return str(known.experiment_id)
