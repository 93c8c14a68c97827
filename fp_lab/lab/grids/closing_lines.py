"""Closing lines of a grid: table, report, command that opens MLflow (no torch, no MLflow)."""

from pathlib import Path

from fp_lab.lab.tracking.address import mlflow_command

REPORT_FOLDER = "report"
TABLE_FILE, PAGE_FILE = "table.txt", "index.html"


def closing_lines(folder: Path, runs: Path) -> str:
    """Return the closing lines, with what to look at next.

    Args:
        folder: folder of the grid.
        runs: folder of runs, with the tracking store.
    """
    table = folder / REPORT_FOLDER / TABLE_FILE
    lines = [table.read_text(encoding="utf-8").rstrip()] if table.is_file() else []
    page = folder / REPORT_FOLDER / PAGE_FILE
    lines += ["", f"Report: {page.resolve()}"] if page.is_file() else []
    return "\n".join([*lines, f"MLflow: {mlflow_command(runs)}"])
