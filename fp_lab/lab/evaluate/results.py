"""Content of results.json: scores of folders of videos, and their protocol."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fp_data.damaged import naming_damage, parse_json

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Results:
    """Results of an evaluation, as plain data.

    Attributes:
        fingerprint: hash of the protocol without versions, equal for comparable results.
        protocol: protocol of the metrics.
        groups: summary of each group of videos (see `fp_lab.lab.scoring.summary.summarise`).
        files: facts of each file, and per estimator value, drift, coverage and reasons.
        skipped: file -> reason why it was not scored.
    """

    fingerprint: str
    protocol: Mapping[str, Any]
    groups: Mapping[str, Any]
    files: Mapping[str, Any]
    skipped: Mapping[str, str]

    def to_plain(self) -> dict[str, Any]:
        """Convert to plain data as written to disk."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Load results.json, or the folder with it.

        Raises:
            ValueError: the file is missing, or of another kind.
        """
        path = path / RESULTS_FILE if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"no results at {path}; make them with fp-lab evaluate")
        with naming_damage(path, "make it again with fp-lab evaluate"):
            found = cls(**parse_json(path.read_bytes()))
            found.look_through()
            return found

    def look_through(self) -> None:
        """Read all entries that tables use, so that files of another form fail here."""
        self.protocol["protocol"], self.protocol["estimators"].keys(), self.skipped.items()
        for group in self.groups:
            self.frozen(group)
        for file, told in self.files.items():
            for estimator, figures in told["estimators"].items():
                for figure in figures.keys() & {"value", "drift"}:
                    self.value(file, estimator, figure)

    def frozen(self, group: str) -> str:
        """Describe how many videos of a group stand still, see `fp_metrics.Flags.frozen`; empty for none."""
        flags = self.groups[group]["flags"]["given"]
        count = round(flags["frozen_share"] * flags["videos"])
        return f"frozen: {count} of {flags['videos']} videos" if count else ""

    def value(self, file: str, estimator: str, figure: str) -> float:
        """Return one value of one file; NaN where undefined."""
        found = self.files[file]["estimators"].get(estimator, {}).get(figure)
        return float("nan") if found is None else float(found)


def refuse_other_protocol(first: Results, second: Results) -> None:
    """Check that two results have the same protocol.

    Raises:
        ValueError: the protocols differ; the message says where.
    """
    if first.fingerprint == second.fingerprint:
        return
    ours, theirs = first.protocol, second.protocol
    differing = [key for key in ("protocol", "segments", "chunk") if ours[key] != theirs[key]]
    names = ours["estimators"].keys() | theirs["estimators"].keys()
    differing += sorted(
        name for name in names if ours["estimators"].get(name) != theirs["estimators"].get(name)
    )
    raise ValueError(
        f"measured by different protocols, these cannot be compared; different: {', '.join(differing)}. "
        "Score both with the same families, metrics and weights"
    )
