"""Provenance of a grid's runs, from the records of their stages: dates, code, machines, weights, time."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fp_data.damaged import naming_damage
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_folder import STAGES, RunFolder
from fp_lab.lab.results.gather import Gathered


def provenance_of(gathered: Gathered, grid: Path) -> dict[str, Any]:
    """Collect the provenance of runs for a page, as plain data.

    Args:
        gathered: scores of the runs.
        grid: folder of the grid.

    Returns:
        ``date`` of the last score (UTC), ``command``, ``minutes`` of all stages added up, ``weights`` (name
        -> sha256 of codec, base and every trained model), and for commit, machine, system and versions each
        text with its number of stages.
    """
    made: dict[str, Counter[str]] = {}
    weights: dict[str, Any] = {}
    seconds, latest = 0.0, 0.0
    for arm, training, folder in gathered.runs:
        run = RunFolder(folder)
        latest = max(latest, run.summary.stat().st_mtime)
        for _, stage_made, told in stages_in_words(run):
            weights |= stage_made.get("weights", {})
            for name, text in told.items():
                made.setdefault(name, Counter())[text] += 1
        for stage in STAGES:
            done = run.record_of(stage)
            seconds += done.get("seconds", 0.0)
            model = done.get("outputs", {}).get("train/model/model.safetensors", {})
            weights |= {f"{arm}/seed{training}": model["sha256"]} if model else {}
    note = grid / "command.txt"
    command = _public(note.read_text(encoding="utf-8")) if note.is_file() else f"fp-lab grid {grid.name}"
    date = datetime.fromtimestamp(latest, UTC).date().isoformat()
    return {"date": date, "command": command, "minutes": seconds / 60, "weights": weights} | {
        name: dict(found) for name, found in made.items()
    }


def _public(command: str) -> str:
    """Return a command without the place of its runs, which is one machine's own and changes no result."""
    return re.sub(r""" --runs[= ]("[^"]*"|'[^']*'|\S+)""", "", command.strip())


def stages_in_words(run: RunFolder) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    """Yield every stage of a run with its provenance, as data and in words.

    Raises:
        ValueError: the run's ``provenance.json`` is damaged.
    """
    with naming_damage(run.provenance, "the command that made the run writes it again"):
        return [(stage, dict(made), in_words(made)) for stage, made in read_json(run.provenance).items()]


def in_words(stage_made: Mapping[str, Any]) -> dict[str, str]:
    """Describe the provenance of a stage: machine, system, commit, versions, data.

    Args:
        stage_made: entry of a stage in a run's ``provenance.json``.
    """
    machine, git = stage_made["environment"], stage_made["git"]
    versions = {name: version for name, version in machine["versions"].items() if version}
    commit = "an installed package" if git is None else git["commit"]
    if git is not None and git["changed"]:
        commit += f", with changes in {', '.join(git['changed'])}"
    return {
        "machine": ", ".join([machine["processor"], f"{machine['cores']} cores", *machine["gpus"]]),
        "system": f"{machine['system']}, Python {machine['python']}",
        "commit": commit,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "data": stage_made["data"],
    }
