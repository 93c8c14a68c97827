"""The report of a grid: one static page with its plots. The only place that knows matplotlib."""

from fp_lab.lab.report.grid_page import write_report

__all__ = ["write_report"]
