"""Protocol box of a report: all that is needed to reproduce its results."""

import inspect
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from fp_data.damaged import DamagedFile
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.report.document import rows_html, terms_html
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.results.provenance import stages_in_words
from fp_lab.lab.scoring.score_video import measures
from fp_lab.lab.tables.glossary import DIRECTIONS
from fp_lab.weights.files import file_sha256


def protocol_html(gathered: Gathered, grid_folder: Path) -> str:
    """Render estimators, segment rule, sizes, versions, seeds, weights' sha256, resolved configs, command."""
    protocol = gathered.protocol
    size = f"{protocol['videos']} videos of {protocol['frames']} frames"
    size += f", {protocol['width']}x{protocol['height']} pixels"
    seeds = sorted({int(seed) for seed in gathered.videos["seed"]})
    entries = {
        "command": _command(grid_folder),
        "videos": escape(f"{size}, {protocol['fps']:g} frames/s; seeds {_ranges(seeds)}"),
        "training seeds": escape(
            ", ".join(str(s) for s in sorted({s for arm in gathered.arms for s in arm.seeds}))
        ),
        "segments": escape(protocol["segments"]),
        "intervals": escape(f"95 %, {gathered.basis.draws}; ranks from paired differences"),
        "tests": f"{gathered.basis.test}, Holm's correction",
        "noise floor": "the same figures on the true videos after the codec's round trip",
        "protocol": escape(f"version {protocol['protocol']}"),
        "versions": escape(", ".join(f"{name} {version}" for name, version in protocol["versions"].items())),
    }
    if unused := protocol.get("left_out"):
        entries["left out"] = escape("; ".join(f"{family}: {reason}" for family, reason in unused.items()))
    return "\n".join(
        [
            terms_html(entries),
            _estimators(gathered),
            _environment(gathered),
            _weights(gathered),
            _configs(gathered, grid_folder),
        ]
    )


def _command(grid_folder: Path) -> str:
    note = grid_folder / "command.txt"
    command = (
        note.read_text(encoding="utf-8", errors="replace").strip()
        if note.is_file()
        else f"fp-lab compare {grid_folder}"
    )
    return f"<code>{escape(command)}</code>"


def _estimators(gathered: Gathered) -> str:
    kinds = measures()
    listed = gathered.videos.drop_duplicates("estimator")[["estimator", "score", "family"]]
    used = {str(row["estimator"]): row for row in listed.to_dict("records")}
    rows = [
        [
            f"<code>{escape(name)}</code>",
            *(escape(str(row[key])) for key in ("score", "family")),
            *map(escape, (kinds[name].unit, DIRECTIONS[kinds[name].higher_is_better])),
            escape((inspect.getdoc(kinds[name]) or "").partition("\n")[0]),
            escape(_learned(gathered.protocol["estimators"].get(name, {}))),
        ]
        for name, row in used.items()
    ]
    heads = ("estimator", "score", "family", "unit", "better", "what it is", "learned from")
    return f"<details open><summary>Estimators</summary>{rows_html(heads, rows)}</details>"


def _learned(described: Mapping[str, Any]) -> str:
    """Describe weights and settings of an estimator by its protocol, and its accuracy."""
    parts = [f"{name} {str(value)[:12]}" for name, value in described.get("weights", {}).items()]
    if "probe" in described.get("settings", {}):
        parts.append(f"the shipped probe {described['settings']['probe'][:12]}")
    return "; ".join([*parts, *([described["accuracy"]] if described.get("accuracy") else [])]) or "nothing"


def _environment(gathered: Gathered) -> str:
    """Render machines, commits and versions of the stages of all runs, with counts where they differ."""
    made: dict[str, Counter[str]] = {}
    damaged: list[str] = []
    for folder in (folder for arm in gathered.arms for folder in arm.folders):
        try:
            stages = stages_in_words(RunFolder(folder))
        except DamagedFile as error:
            damaged.append(f"<p>Left out of the environment, not of the scores: {escape(str(error))}</p>")
            continue
        for stage, _, told in stages:
            for name, text in told.items():
                made.setdefault(f"{stage}: {name}", Counter())[text] += 1
    listed = {name: [_counted(text, n, found) for text, n in found.items()] for name, found in made.items()}
    terms = terms_html({name: "<br>".join(texts) for name, texts in listed.items()})
    details = f"<details><summary>Environment</summary>{terms}</details>" if listed else ""
    return "\n".join([*damaged, details])


def _counted(text: str, count: int, found: Mapping[str, int]) -> str:
    """Append the number of runs, where not all have the same text."""
    return escape(text) if len(found) == 1 else f"{escape(text)} <small>({count} runs)</small>"


def _weights(gathered: Gathered) -> str:
    rows = []
    for arm in gathered.arms:
        for seed, folder in zip(arm.seeds, arm.folders, strict=True):
            model = folder / "train" / "model" / "model.safetensors"
            digest = file_sha256(model) if model.is_file() else "not kept"
            rows.append((f"<code>{escape(arm.name)}</code>", str(seed), f"<code>{digest}</code>"))
    heads = ("arm", "training seed", "sha256 of the weights")
    return f"<details><summary>Weights</summary>{rows_html(heads, rows)}</details>"


def _configs(gathered: Gathered, grid_folder: Path) -> str:
    files = {"grid.yaml": grid_folder / "grid.yaml"}
    files |= {f"{arm.name}, seed {arm.seeds[0]}": arm.folders[0] / "config.yaml" for arm in gathered.arms}
    return "\n".join(
        f"<details><summary>Config: {escape(name)}</summary><pre>{escape(text)}</pre></details>"
        for name, path in files.items()
        if path.is_file() and (text := path.read_text(encoding="utf-8", errors="replace"))
    )


def _ranges(numbers: list[int]) -> str:
    """Format ascending integers as ranges: 0-15, 20."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
