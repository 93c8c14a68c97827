"""Logging of scored folders to MLflow."""

from pathlib import Path

from fp_lab.lab.evaluate.score_folders import FolderScores
from fp_lab.lab.scoring.files import headline
from fp_lab.lab.tracking import Tracker


def log_folder(scores: FolderScores, page: Path, runs: Path) -> str:
    """Log the means of each group, the results and the page as one run.

    Args:
        scores: scores of the folders.
        page: page that shows them.
        runs: folder of runs with the store, unless MLFLOW_TRACKING_URI names another.

    Returns:
        Id of the run.
    """
    results = scores.results
    parameters = {"fingerprint": results.fingerprint, "files": len(scores.files)}
    parameters |= {f"group.{number}": name for number, name in enumerate(results.groups)}
    run = Tracker(runs).scores(str(scores.out.resolve()), ", ".join(results.groups), parameters)
    figures: dict[str, float] = {}
    for number, summary in enumerate(results.groups.values()):
        prefix = f"{number}/" if len(results.groups) > 1 else ""
        figures |= {f"{prefix}{name}": value for name, value in headline(summary).items()}
    with run.closing():
        run.log_figures(figures)
        run.log_files(sorted(f for f in scores.out.iterdir() if f.is_file()), "scores")
    return run.opened()
