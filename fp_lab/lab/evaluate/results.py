"""Scores of any videos: of folders, of a run, of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fp_data.damaged import naming_damage
from fp_lab.lab.scoring.files import ScoresFolder, fingerprint, plain
from fp_lab.lab.scoring.summary import summarise

HISTORY = "own"
"""History of the videos, as in a run's scores: they are what a model made."""


@dataclass(frozen=True, eq=False)
class Results:
    """Scored videos.

    Attributes:
        summary: content of a `ScoresFolder.summary`.
        videos: one row per file and estimator, with the columns ``file`` and ``group``.
    """

    summary: Mapping[str, Any]
    videos: pd.DataFrame

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Load scores.

        Args:
            path: folder of scores, a folder with ``scores/`` such as a run, or the summary in either.

        Raises:
            ValueError: there are none, or they are damaged.
        """
        folder = path.parent if path.is_file() else path
        places = (ScoresFolder(folder), ScoresFolder(folder / "scores"))
        scores = next((place for place in places if place.summary.is_file()), None)
        if scores is None:
            raise ValueError(f"no scores at {path}; make them with fp-lab evaluate")
        videos = scores.read_videos()
        with naming_damage(scores.videos):
            videos = videos[videos["history"] == HISTORY]
            if "file" not in videos:  # of a run, whose videos have these names in samples/
                names = [f"{HISTORY}-{index:02d}.mp4" for index in videos["video"]]
                videos = videos.assign(file=names, group=HISTORY)
        with naming_damage(scores.summary, "make it again with fp-lab evaluate"):
            found = cls(scores.read_summary(), videos)
            found.look_through()
        return found

    def look_through(self) -> None:
        """Read all entries that tables use, so that files of another form fail here."""
        self.protocol["protocol"], self.protocol["estimators"].keys(), self.skipped.items()
        for group in self.groups:
            self.frozen(group)
        for facts in self.files.values():
            facts["prompt"], facts["group"]

    @property
    def protocol(self) -> Mapping[str, Any]:
        """Protocol of the metrics."""
        protocol: Mapping[str, Any] = self.summary["protocol"]
        return protocol

    @property
    def fingerprint(self) -> str:
        """Hash of the protocol, equal for comparable results."""
        return fingerprint(self.protocol)

    @property
    def skipped(self) -> Mapping[str, str]:
        """File -> reason why it was not scored."""
        skipped: Mapping[str, str] = self.summary.get("skipped", {})
        return skipped

    @cached_property
    def files(self) -> Mapping[str, Any]:
        """File -> its facts: prompt and group; of files that were decoded also their sizes and notes."""
        rows = self.videos.drop_duplicates("file")[["file", "prompt", "group"]]
        known = {row["file"]: row for row in rows.to_dict("records")}
        return {**known, **self.summary.get("files", {})}

    @cached_property
    def groups(self) -> Mapping[str, Any]:
        """Summary of each group of videos (see `fp_lab.lab.scoring.summary.summarise`)."""
        groups = list(dict.fromkeys(self.videos["group"]))
        if len(groups) == 1:
            return {groups[0]: self.summary}
        return {group: plain(summarise(self.videos[self.videos["group"] == group])) for group in groups}

    @property
    def reliable(self) -> bool:
        """Whether the intervals of all groups are reliable."""
        return all(
            figures[HISTORY]["value"]["reliable"]
            for summary in self.groups.values()
            for figures in summary["estimators"].values()
        )

    def frozen(self, group: str) -> str:
        """Describe how many videos of a group stand still, see `fp_metrics.Flags.frozen`; empty for none."""
        flags = self.groups[group]["flags"][HISTORY]
        count = round(flags["frozen_share"] * flags["videos"])
        return f"frozen: {count} of {flags['videos']} videos" if count else ""

    def values(self, estimator: str) -> dict[str, float]:
        """Return file -> value of an estimator; NaN where undefined."""
        rows = self.videos[self.videos["estimator"] == estimator]
        return dict(zip(rows["file"], rows["value"].astype(float), strict=True))


def refuse_other_protocol(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Check that two protocols make comparable scores.

    Raises:
        ValueError: they differ; the message says where.
    """
    if fingerprint(ours) == fingerprint(theirs):
        return
    differing = [key for key in ("protocol", "segments", "chunk") if ours[key] != theirs[key]]
    names = ours["estimators"].keys() | theirs["estimators"].keys()
    differing += sorted(
        name for name in names if ours["estimators"].get(name) != theirs["estimators"].get(name)
    )
    raise ValueError(
        f"measured by different protocols, these cannot be compared; different: {', '.join(differing)}. "
        "Score both with the same families, metrics and weights"
    )
