"""Measures without rollout that are made up, not measured, for grids of `made_up_scores`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.without_rollout import steps_file, write_rows


def made_up_steps(
    run: Path,
    levels: Mapping[str, tuple[float, float]],
    errors: Sequence[float] = (0.1, 0.2),
    *,
    seed: int = 0,
) -> None:
    """Write influence and errors of a scored run, a tenth of a value as noise between its videos.

    Args:
        run: folder of the run.
        levels: name -> influence and noise.
        errors: of each section, from true history; twice as large in the rollout, ten times in velocity.
        seed: of what differs between videos.
    """
    videos = pd.read_parquet(run / "scores" / "videos.parquet").drop_duplicates("video")
    random, rows = np.random.default_rng(seed), []
    kinds = [
        (measure, level, place, mean)
        for place, (level, means) in enumerate(levels.items())
        for measure, mean in zip(("influence", "influence_noise"), means, strict=True)
    ]
    factors = {"section_error": 1.0, "rollout_error": 2.0, "velocity_error": 10.0}
    kinds += [
        (measure, "section", place, factor * error)
        for measure, factor in factors.items()
        for place, error in enumerate(errors)
    ]
    for measure, of, place, mean in kinds:
        values = mean * (1 + 0.1 * random.standard_normal(len(videos)))
        for video, prompt, own, value in zip(
            videos["video"], videos["prompt"], videos["seed"], values, strict=True
        ):
            row = {"video": video, "prompt": prompt, "seed": own, "measure": measure, "of": of}
            rows.append(row | {"place": place, "frames": 2, "value": value})
    write_rows(steps_file(RunFolder(run)), rows)
