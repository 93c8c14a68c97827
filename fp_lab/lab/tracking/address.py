"""Address of the tracking database, and command that opens its page (no torch, no MLflow)."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def mlflow_command(runs: Path) -> str:
    """Return the command that opens the tracking page, or the address of a server in use."""
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        return address
    return shlex.join([mlflow_program(), "ui", "--backend-store-uri", database_uri(runs / "mlflow.db")])


def database_uri(path: Path) -> str:
    """Return the address of a database for SQLAlchemy, with special characters escaped."""
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{escaped}"


def mlflow_program() -> str:
    """Return the MLflow program beside this Python, as called from the current folder."""
    here = Path.cwd()
    beside = Path(os.path.abspath(sys.executable)).with_name("mlflow")  # noqa: PTH100 - a link stays a link
    if not beside.is_file() or shutil.which("mlflow") == str(beside):
        return "mlflow"
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
