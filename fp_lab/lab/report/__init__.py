"""Reports: static pages of grids, claims, checkpoints and scores. Only this package uses matplotlib."""

from fp_lab.lab.report.grid_page import write_report

__all__ = ["write_report"]
