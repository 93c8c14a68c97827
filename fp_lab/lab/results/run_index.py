"""Index of a grid's runs: one file with the results that comparisons need.

A run is read again when one of its files has changed (size or time). The index is replaced in one step: of
two processes that write it, the later one wins, and the next reader adds missing runs. An unreadable index is
made anew; one that cannot be written is skipped.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fp_data.atomic import replacing
from fp_data.damaged import DamagedFile, naming_damage, parse_json
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_config import run_settings
from fp_lab.lab.files.run_folder import RunFolder, digest
from fp_lab.lab.provenance.base_origin import is_toy, toy_base
from fp_lab.lab.results.setting_differences import compared_settings
from fp_lab.lab.scoring.files import SCORED_AGAIN, ScoresFolder, plain
from fp_lab.lab.scoring.given_frames import GIVEN_COLUMNS, with_given

INDEX_FILE = "index.parquet"
PROTOCOL = ("protocol", "segments", "estimators")
"""Parts of a protocol that must agree for metrics to share a table."""
_SIZE = ("videos", "frames", "height", "width", "fps", "stride", "given")
_WRITTEN_AGAIN = "the command that made the run writes it anew"
_VERSION = 7
_KEY = b"fp_lab"
_WORDS = pa.dictionary(pa.int32(), pa.string())
ROWS = pa.schema(
    {
        **dict.fromkeys(("arm", "prompt", "estimator", "score", "family"), _WORDS),
        **dict.fromkeys(("training_seed", "video", "seed"), pa.int64()),
        **dict.fromkeys(("value", "drift", "drift_given", "start_given", "exposure_gap"), pa.float64()),
        "frozen": pa.bool_(),
        **dict.fromkeys(("reason", "drift_reason", "given_reason", "exposure_reason"), _WORDS),
    }
)
"""Columns of `Index.rows`."""


@dataclass(frozen=True)
class Measure:
    """Facts of an estimator.

    Attributes:
        unit: unit of its values.
        higher_is_better: whether higher values are better; None where neither direction is.
        accuracy: accuracy in words, for an estimator that was measured against a truth.
        span: number of consecutive frames behind one value.
    """

    unit: str
    higher_is_better: bool | None
    accuracy: str = ""
    span: int = 1


@dataclass(frozen=True)
class RunFacts:
    """Facts of a scored run beside the rows of its videos.

    Attributes:
        recipe: recipe of its config; for a run without config, its folder's name.
        size: numbers of videos, frames and given frames, height, width, fps, pixels per latent row.
        settings: key of the settings in `Index.settings`.
        protocol: key of the protocol in `Index.protocols`.
        truth: folder of its ground truth, relative to the run; None without.
        efficiency: times, rates and peak memory.
        codebook: usage and error of the codebook of a discrete history.
        caution: caution on its base; None without.
        toy: whether it tells nothing about large models, see `is_toy`.
        state: size and time of the files that this was read from.
        faults: damaged records beside the scores, ``efficiency`` or ``codebook`` -> file below the run and
            its fault; their metrics are missing.
    """

    recipe: str
    size: Mapping[str, float]
    settings: str
    protocol: str
    truth: str | None
    efficiency: Mapping[str, float]
    codebook: Mapping[str, float]
    caution: str | None
    toy: bool
    state: Sequence[int]
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Index:
    """Index of scored runs.

    Attributes:
        runs: name below the grid, ``<arm>/seed<k>`` -> facts.
        settings: key -> settings of runs, see `compared_settings`; runs of one arm share a key.
        protocols: key -> protocol of the metrics (``protocol``) and facts of estimators (``measures``).
        rows: one row per run, video and estimator, from own history.
        damaged: name of each scored run that cannot be read -> the file and its fault.
    """

    runs: Mapping[str, RunFacts]
    settings: Mapping[str, Mapping[str, Any]]
    protocols: Mapping[str, Mapping[str, Any]]
    rows: pa.Table
    damaged: Mapping[str, str] = field(default_factory=dict)

    def measures(self) -> dict[str, Measure]:
        """All estimators by name."""
        told = (named for protocol in self.protocols.values() for named in protocol["measures"].items())
        return {name: Measure(**facts) for name, facts in told}

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame, with words as categories."""
        return self.rows.unify_dictionaries().to_pandas()


NOTHING = Index({}, {}, {}, ROWS.empty_table())
"""Index without runs."""


def training_seed(run: Path) -> int | None:
    """Seed of a run's folder, ``seed<k>``; None for any other folder."""
    digits = run.name.removeprefix("seed")
    return int(digits) if run.name.startswith("seed") and digits.isdecimal() else None


def read_runs(grid: Path, runs: Sequence[Path]) -> Index:
    """Read the scored runs among runs of a grid, from its index as far as it is up to date.

    Runs with a damaged file are listed apart and do not affect the others.

    Args:
        grid: folder of the grid.
        runs: run folders ``<arm>/seed<k>`` below it.
    """
    known = _load(grid / INDEX_FILE)
    states = {_name(run): state for run in runs if (state := _state(RunFolder(run)))}
    fresh = [
        run
        for run in runs
        if (name := _name(run)) in states
        and (name not in known.runs or list(known.runs[name].state) != states[name])
    ]
    damaged: dict[str, str] = {}
    if fresh:
        parts = [_without(known, {_name(run) for run in fresh})]
        for run in fresh:
            try:
                parts.append(_read(run, states[_name(run)]))
            except DamagedFile as error:
                damaged[_name(run)] = str(error)
        known = _joined(parts)
        with suppress(OSError):
            _save(known, grid / INDEX_FILE)
    return replace(_without(known, set(known.runs) - set(states)), damaged=damaged)


def joined(parts: Sequence[Index]) -> Index:
    """Join the runs of several grids; a name in two of them is an error.

    Raises:
        ValueError: two grids have the same arm and training seed.
    """
    names = [name for part in parts for name in part.runs]
    for twice in {name for name in names if names.count(name) > 1} if len(parts) > 1 else ():
        arm = twice.rpartition("/")[0]
        recipe = next(part.runs[twice].recipe for part in parts if twice in part.runs)
        raise ValueError(
            f"{twice} is there in two of these grids, and one row cannot hold both; in the YAML of one "
            f"grid give the arm a label, {{recipe: {recipe}, label: {arm}_2}}, run fp-lab grid again (what "
            "was trained is taken over, not trained anew) and name the arms' folders to compare"
        )
    return _joined(parts)


def _joined(parts: Sequence[Index]) -> Index:
    runs = {name: facts for part in parts for name, facts in part.runs.items()}
    settings = {key: told for part in parts for key, told in part.settings.items()}
    protocols = {key: told for part in parts for key, told in part.protocols.items()}
    damaged = {name: why for part in parts for name, why in part.damaged.items()}
    return Index(runs, settings, protocols, pa.concat_tables([part.rows for part in parts]), damaged)


def _name(run: Path) -> str:
    return f"{run.parent.name}/{run.name}"


def _state(run: RunFolder) -> list[int]:
    """Size and time of every file that is read; empty for a run without scores."""
    scores = ScoresFolder(run.scores)
    state: list[int] = []
    for file in (scores.summary, scores.videos, run.config, run.efficiency, run.codebook):
        try:
            found = file.stat()
        except FileNotFoundError:
            if file == scores.summary:
                return []
            state += [0, 0]
        else:
            state += [found.st_size, found.st_mtime_ns]
    return state


def _without(index: Index, names: set[str]) -> Index:
    if not names & set(index.runs):
        return index
    runs = {name: facts for name, facts in index.runs.items() if name not in names}
    if not runs:
        return NOTHING
    arms = index.rows["arm"].cast(pa.string())
    keys = pc.binary_join_element_wise(arms, index.rows["training_seed"].cast(pa.string()), "/seed")
    rows = index.rows.filter(pc.is_in(keys, pa.array(runs)))
    settings = {facts.settings: index.settings[facts.settings] for facts in runs.values()}
    protocols = {facts.protocol: index.protocols[facts.protocol] for facts in runs.values()}
    return Index(runs, settings, protocols, rows)


def _read(folder: Path, state: Sequence[int]) -> Index:
    """Read one run; its state is taken before, so that files changed meanwhile are read again next time."""
    run = RunFolder(folder)
    scores = ScoresFolder(run.scores)
    with naming_damage(run.config, _WRITTEN_AGAIN):
        config = run_settings(run.config)
        given = min(1, config.get("evaluation", {}).get("given", 1))
        settings = plain(compared_settings(config))
        made_with = {"recipe": config.get("recipe", folder.parent.name.partition("--")[0])}
        made_with |= {"caution": toy_base(config), "toy": is_toy(config)}
    with naming_damage(scores.summary, SCORED_AGAIN):
        summary = scores.read_summary()
        protocol = summary["protocol"] | {key: summary["protocol"][key] for key in PROTOCOL}
        told = {"protocol": protocol, "measures": _measures(summary)}
        # before summaries told the stride, it was that of every codec
        told_size = {"stride": 8, "given": given} | summary
        size = {key: _finite(told_size[key]) for key in _SIZE}
        truth = summary.get("truth") and str(Path(summary["truth"]))
    faults: dict[str, str] = {}
    facts = RunFacts(
        size=size,
        settings=digest(settings),
        protocol=digest(told),
        truth=truth,
        efficiency=_figures("efficiency", run.efficiency, folder, faults),
        codebook=_figures("codebook", run.codebook, folder, faults),
        state=state,
        faults=faults,
        **made_with,
    )
    with naming_damage(scores.videos, SCORED_AGAIN):
        with pq.ParquetFile(scores.videos) as file:  # read_table takes thrice as long
            table = file.read(use_threads=False)
        own = table.filter(pc.equal(table["history"], "own"))
    if not set(GIVEN_COLUMNS) <= set(own.column_names):  # scored before they were
        spans = {name: figures["span"] for name, figures in told["measures"].items()}
        with naming_damage(scores.frames, SCORED_AGAIN):
            own = _add_given(own, scores.frames, size, spans)
    known = {"arm": pa.scalar(folder.parent.name), "training_seed": pa.scalar(training_seed(folder))}
    columns = [
        pa.repeat(known[field.name], len(own)).cast(field.type)
        if field.name in known
        else own[field.name].cast(field.type)
        if field.name in own.column_names
        else pa.nulls(len(own), field.type)
        for field in ROWS
    ]
    rows = pa.table(columns, schema=ROWS)
    return Index({_name(folder): facts}, {facts.settings: settings}, {facts.protocol: told}, rows)


def _figures(kind: str, path: Path, run: Path, faults: dict[str, str]) -> dict[str, float]:
    """Recorded metrics of a run; empty where there are none, or where their damage is added to the faults."""
    try:
        with naming_damage(path, _WRITTEN_AGAIN):
            told = read_json(path)
            return {name: float(math.nan if value is None else value) for name, value in told.items()}
    except DamagedFile as error:
        faults[kind] = f"{path.relative_to(run).as_posix()}: {error.fault}"
        return {}


def _finite(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"got {value!r:.60}, expected a number")
    return value


def _add_given(own: pa.Table, frames: Path, size: Mapping[str, float], spans: Mapping[str, int]) -> pa.Table:
    """Add drift against the given frames to the rows, from stored values per frame."""
    if not frames.is_file():
        return own
    wanted = ["video", "history", "estimator", "frame", "value"]
    values = pq.read_table(frames, columns=wanted, filters=[("history", "=", "own")]).to_pandas()
    return pa.Table.from_pandas(with_given(own.to_pandas(), values, size, spans), preserve_index=False)


def _measures(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    told = summary["protocol"]["estimators"]
    if (spans := summary.get("spans")) is None:  # scored before they were told
        from fp_lab.lab.scoring.score_video import spans_of  # imports torch: once, the index keeps them

        spans = spans_of(summary["estimators"], summary["fps"])
    return {
        name: {
            "unit": figures["unit"],
            "higher_is_better": figures["higher_is_better"],
            "accuracy": told.get(name, {}).get("accuracy") or "",
            "span": _finite(spans[name]),
        }
        for name, figures in summary["estimators"].items()
    }


def _load(path: Path) -> Index:
    """Load an index; empty where there is no readable one of this version."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        rows = pq.read_table(path)
        told = parse_json(rows.schema.metadata[_KEY])
        if told["version"] == _VERSION:
            runs = {name: RunFacts(**facts) for name, facts in told["runs"].items()}
            return Index(runs, told["settings"], told["protocols"], rows.cast(ROWS))
    return NOTHING


def _save(index: Index, path: Path) -> None:
    runs = {name: vars(facts) for name, facts in index.runs.items()}
    told = {"version": _VERSION, "runs": runs, "settings": index.settings, "protocols": index.protocols}
    rows = index.rows.unify_dictionaries().combine_chunks()
    with replacing(path) as unfinished:
        pq.write_table(rows.replace_schema_metadata({_KEY: json.dumps(told)}), unfinished)
