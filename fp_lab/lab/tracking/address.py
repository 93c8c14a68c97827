"""The address of the tracking database, and the command that opens its page (no torch, no MLflow)."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def mlflow_command(runs: Path) -> str:
    """The command that opens the tracking page, or the address of a server that is in use."""
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        return address
    return shlex.join([mlflow_program(), "ui", "--backend-store-uri", database_uri(runs / "mlflow.db")])


def database_uri(path: Path) -> str:
    """The address of a data base as SQLAlchemy reads it: what means something in an address is escaped."""
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{escaped}"


def mlflow_program() -> str:
    """The program beside this Python, as it is called from the current folder."""
    here = Path.cwd()
    beside = Path(os.path.abspath(sys.executable)).with_name("mlflow")  # noqa: PTH100 - a link stays a link
    if not beside.is_file() or shutil.which("mlflow") == str(beside):
        return "mlflow"
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
