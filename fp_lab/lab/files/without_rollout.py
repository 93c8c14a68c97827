"""Measures without rollout on disk: influence of levels and errors of single steps, one row per video."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from fp_data.atomic import replacing
from fp_data.damaged import naming_damage
from fp_lab.lab.files.run_folder import RunFolder

Measure = Literal["influence", "influence_noise", "velocity_error", "section_error", "rollout_error"]
"""``influence``: R of a level, ``influence_noise``: the same where a level is only perturbed; from true
history ``velocity_error`` at one noise level and ``section_error``, of sampled latents; ``rollout_error``: of
sampled latents from generated history. All errors are mean squares, of a section."""
COLUMNS = ("video", "prompt", "seed", "measure", "of", "place", "frames", "value")
"""``of``: name of the level, or ``section``; ``place``: its number from 0, of sections in the order of
generation; ``frames``: that the level holds, or the section makes."""
_ADVICE = "fp-lab influence measures it again"


def steps_file(run: RunFolder) -> Path:
    """All measures without rollout of a run or a checkpoint."""
    return run.without_rollout / "steps.parquet"


def section_errors_file(run: RunFolder) -> Path:
    """Errors of the sampled sections of a run or a checkpoint; `steps_file` keeps them too."""
    return run.samples / "section_errors.parquet"


def write_rows(path: Path, rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> None:
    """Write rows of `COLUMNS` in one step."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    with replacing(path) as unfinished:
        table.reindex(columns=list(COLUMNS)).to_parquet(unfinished, index=False)


def read_rows(path: Path) -> pd.DataFrame:
    """Read rows of `COLUMNS`; empty where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    with naming_damage(path, _ADVICE):
        return pd.read_parquet(path)[list(COLUMNS)]
