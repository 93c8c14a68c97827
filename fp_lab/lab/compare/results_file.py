"""Results of a grid in one small Parquet file, from which pages are drawn without run folders.

A row is a video's score by one estimator, what came back in it after similar gaps (family ``returned``, see
`fp_metrics.returns.Return`: ``value`` is the agreement), or a measure without rollout (family
``without_rollout``: ``estimator`` is the measure, ``score`` the level, ``gap`` its place, ``weight`` its
frames). The provenance of the runs is in the schema's metadata.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fp_data.atomic import replacing
from fp_data.damaged import parse_json
from fp_lab.lab.compare.forgetting import KINDS
from fp_lab.lab.results.gather import Gathered, Returned
from fp_lab.lab.results.provenance import provenance_of
from fp_lab.lab.results.run_index import ROWS, Index, RunFacts
from fp_lab.lab.scoring.files import NOISE_FLOOR, ScoresFolder
from fp_metrics.returns import GAPS, STAYED, decibels

STEPS = 12
"""Number of equal parts of a video whose means are stored, for every score of the first family."""
_VERSION = 1
_KEY = b"fp_lab.results"
_RETURNED, _STEPS = "returned", "without_rollout"
_WORDS = pa.dictionary(pa.int32(), pa.string())
_SMALLER = {pa.int64(): pa.int32(), pa.float64(): pa.float32()}
_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("recipe", "label", "history"), _WORDS),
        **{field.name: _SMALLER.get(field.type, field.type) for field in ROWS},
        "over_time": pa.list_(pa.float32()),
        "gap": pa.int32(),
        **dict.fromkeys(("psnr", "weight"), pa.float32()),
        **dict.fromkeys(("settings", "protocol"), _WORDS),
    }
)
_FLOATS = [field.name for field in _SCHEMA if field.type == pa.float32()] + ["over_time.list.element"]


@dataclass(frozen=True, eq=False)
class StoredResults(Gathered):
    """Scores as gathered from runs, but loaded from one file.

    Attributes:
        table: rows of the file.
        about: provenance of the runs, see `provenance_of`.
    """

    table: pa.Table | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def frames(self) -> pd.DataFrame:
        """Return means over the parts of videos, with ``frame`` in the middle of each part."""
        return self._over_time("own")

    @cached_property
    def floor_frames(self) -> pd.DataFrame:
        """Return means over the parts of the ground-truth videos."""
        return self._over_time(NOISE_FLOOR)

    @cached_property
    def _returned(self) -> tuple[Returned, dict[str, list[str]]]:
        """Return what came back, pooled over the gaps of each bin of `GAPS`; nothing is damaged."""
        assert self.table is not None
        rows = self.table.filter(pc.equal(self.table["family"].cast(pa.string()), _RETURNED))
        runs: dict[tuple[str, int], dict[int, tuple[str, dict[str, list[Any]]]]] = {}
        for row in rows.to_pylist():
            videos = runs.setdefault((row["arm"], row["training_seed"]), {})
            _, histories = videos.setdefault(row["video"], (row["prompt"], {}))
            told = {key: row[key] for key in ("gap", "psnr", "weight", "reason")}
            told |= {"kind": row["score"], "agreement": row["value"]}
            histories.setdefault(row["history"], []).append(told)
        found: Returned = {}
        for (arm, training), videos in runs.items():
            own = [videos[video] for video in sorted(videos)]
            content = {
                "clusters": [prompt for prompt, _ in own],
                "histories": {
                    history: [histories.get(history, []) for _, histories in own]
                    for history in ((NOISE_FLOOR,) if arm == NOISE_FLOOR else ("own", "true"))
                },
            }
            found.setdefault(arm, []).append((training, content))
        return found, {}

    @cached_property
    def without_rollout(self) -> pd.DataFrame:
        """Return the measures without rollout."""
        assert self.table is not None
        rows = self.table.filter(pc.equal(self.table["family"].cast(pa.string()), _STEPS)).to_pandas()
        kept = {"estimator": "measure", "score": "of", "gap": "place", "weight": "frames"}
        names = ["arm", "training_seed", "video", "prompt", "seed", "value"]
        rows = rows.astype(dict.fromkeys(("arm", "prompt", "estimator", "score"), object))
        whole = rows.rename(columns=kept)[[*names, *kept.values()]]
        return whole.astype({"place": int, "frames": int, "value": float})

    def _over_time(self, history: str) -> pd.DataFrame:
        assert self.table is not None
        kept = pc.and_(
            self.table["over_time"].is_valid(), pc.equal(self.table["history"].cast(pa.string()), history)
        )
        rows = self.table.filter(kept).drop_columns(["value"]).to_pandas()
        length = int(self.protocol["frames"])
        middles = (np.arange(STEPS) + 0.5) * length / STEPS - 0.5
        rows = rows.explode("over_time").rename(columns={"over_time": "value"})
        return rows.assign(value=rows["value"].astype(float), frame=np.tile(middles, len(rows) // STEPS))


def store_results(gathered: Gathered, path: Path) -> None:
    """Write the results of a grid's finished runs.

    Args:
        gathered: scores from the run folders.
        path: path of the file, ``.parquet``.

    Raises:
        ValueError: the runs are of several grids.
    """
    grids = {folder.parents[1] for arm in gathered.arms for folder in arm.folders}
    if len(grids) > 1:
        raise ValueError(f"got runs of {len(grids)} grids, expected those of one: its file is named after it")
    (grid,) = grids
    index, settings = gathered.index, gathered.index.settings
    common = set.intersection(*(set(map(repr, own.items())) for own in settings.values()))
    shared = {
        key: value for own in settings.values() for key, value in own.items() if repr((key, value)) in common
    }
    told = {
        "version": _VERSION,
        "grid": grid.name,
        "about": provenance_of(gathered, grid),
        "runs": {name: asdict(facts) | {"state": []} for name, facts in index.runs.items()},
        "settings": {
            key: {name: value for name, value in own.items() if name not in shared}
            for key, own in settings.items()
        },
        "shared_settings": shared,
        "protocols": index.protocols,
    }
    parts = [_scores(gathered), _floor(gathered), pd.DataFrame(_returned(gathered)), _steps(gathered)]
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    arms = {arm.name: arm for arm in gathered.arms}
    rows["label"] = rows["arm"].map({name: arm.label for name, arm in arms.items()})
    rows["recipe"] = rows["arm"].map({name: str(arm.recipe) for name, arm in arms.items()})
    runs = rows["arm"].astype(str) + "/seed" + rows["training_seed"].astype(str)
    rows["settings"] = runs.map({name: facts.settings for name, facts in index.runs.items()})
    rows["protocol"] = runs.map({name: facts.protocol for name, facts in index.runs.items()})
    table = pa.Table.from_pandas(rows.reindex(columns=_SCHEMA.names), _SCHEMA, preserve_index=False)
    with (
        replacing(path) as unfinished,
        pq.ParquetWriter(
            unfinished,
            _SCHEMA,
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in _SCHEMA.names if name not in (*_FLOATS, "over_time")],
            column_encoding=dict.fromkeys(_FLOATS, "BYTE_STREAM_SPLIT"),
            store_schema=False,  # it would hold the metadata again
        ) as writer,
    ):
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY.decode(): json.dumps(told)})


def load_results(path: Path) -> StoredResults:
    """Load a file written by `store_results`.

    Raises:
        ValueError: the file is missing, or of another kind.
    """
    try:
        table = pq.read_table(path)
        told = parse_json((table.schema.metadata or {})[_KEY])
        version = told["version"]
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no results of fp-lab results ({error})") from error
    if version != _VERSION:
        raise ValueError(f"{path}: got version {version}, expected {_VERSION}; write it again from its runs")
    table = table.cast(_SCHEMA)
    family, history = (table[name].cast(pa.string()) for name in ("family", "history"))
    scores = pc.invert(pc.is_in(family, pa.array([_RETURNED, _STEPS])))
    own = table.filter(pc.and_(scores, pc.equal(history, "own"))).select(ROWS.names).cast(ROWS)
    floor = table.filter(pc.and_(scores, pc.not_equal(history, "own"))).select(["history", *ROWS.names])
    runs = {name: RunFacts(**facts) for name, facts in told["runs"].items()}
    settings = {key: told["shared_settings"] | settings for key, settings in told["settings"].items()}
    return StoredResults.of(
        Index(runs, settings, told["protocols"], own),
        {Path(told["grid"], name): facts for name, facts in runs.items()},
        floor.to_pandas(),
        truths=(),
        waiting=(),
        table=table,
        about=told["about"],
    )


def _scores(gathered: Gathered) -> pd.DataFrame:
    return _with_time(gathered, gathered.videos.assign(history="own"), gathered.runs)


def _floor(gathered: Gathered) -> pd.DataFrame:
    return _with_time(gathered, gathered.floor_videos, [(NOISE_FLOOR, 0, one) for one in gathered.truths])


def _with_time(
    gathered: Gathered, videos: pd.DataFrame, runs: Sequence[tuple[str, int, Path]]
) -> pd.DataFrame:
    """Add the mean over each part of the video to rows of the first family."""
    wanted = list(gathered.estimators(gathered.families[0]).values())
    length = int(gathered.protocol["frames"])
    keys = ["arm", "training_seed", "video", "history", "estimator"]
    parts = []
    for arm, training, folder in runs:
        path = ScoresFolder(folder / "scores").frames
        filters = [("estimator", "in", wanted), ("history", "in", ["own", NOISE_FLOOR])]
        if path.is_file():
            rows = pd.read_parquet(path, columns=[*keys[2:], "frame", "value"], filters=filters)
            rows = rows.assign(arm=arm, training_seed=training, part=rows["frame"] * STEPS // length)
            means = rows.groupby([*keys, "part"], observed=True)["value"].mean().unstack("part")
            values = _shortened(means.reindex(columns=range(STEPS)).to_numpy(np.float32))
            parts.append(pd.Series(list(values), index=means.index))
    found = pd.concat(parts).to_dict() if parts else {}
    over_time = [found.get(key) for key in videos[keys].itertuples(index=False, name=None)]
    return videos.assign(over_time=pd.Series(over_time, index=videos.index, dtype=object))


def _shortened(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to 12 bits, as much as a plot shows: zeros take no room in a file."""
    return ((values.view(np.uint32) + 0x400) & 0xFFFFF800).view(np.float32)


def _returned(gathered: Gathered) -> Iterator[dict[str, Any]]:
    """Rows of what came back in each video, pooled over similar gaps with weights that keep the mean."""
    for arm, runs in gathered.returned.items():
        video = 0
        for training, content in runs:
            for history, videos in content["histories"].items():
                for number, (prompt, returns) in enumerate(zip(content["clusters"], videos, strict=True)):
                    about = {"arm": arm, "training_seed": training, "history": history, "prompt": prompt}
                    about |= {"video": video + number, "family": _RETURNED}
                    kept = [row for row in returns if arm == NOISE_FLOOR or (history, row["kind"]) in KINDS]
                    yield from (about | row for row in _binned(kept))
            video += len(content["clusters"]) if arm == NOISE_FLOOR else 0


def _steps(gathered: Gathered) -> pd.DataFrame:
    """Rows of the measures without rollout."""
    stored = {"measure": "estimator", "of": "score", "place": "gap", "frames": "weight"}
    return gathered.without_rollout.rename(columns=stored).assign(family=_STEPS, history="true")


def _binned(returns: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for one in returns:
        least = max((gap for gap in GAPS if gap <= one["gap"]), default=STAYED)
        groups.setdefault((one["kind"], least, one["reason"]), []).append(one)
    for (kind, gap, reason), own in groups.items():
        weights = [one["weight"] for one in own]
        row = {"estimator": f"{_RETURNED}/{kind}", "score": kind, "gap": gap, "reason": reason}
        row |= {"weight": sum(weights), "value": None, "psnr": None}
        if all(one["agreement"] is not None for one in own):
            row["value"] = np.average([one["agreement"] for one in own], weights=weights)
        if all(one["psnr"] is not None for one in own):
            row["psnr"] = decibels(
                float(np.average([10 ** (-one["psnr"] / 10) for one in own], weights=weights))
            )
        yield row
