"""A video measured whole, in a collection, in two halves and by two processes, for tests of estimators."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import MetricCollection

from fp_metrics import FAMILIES, About, Estimator, Series
from fp_metrics.families.dynamic_degree import TopMotion

BORDER, CHUNK = 12, 4


@dataclass(frozen=True)
class Case:
    """An estimator by its family and name, and the video it measures."""

    name: str
    about: About
    video: Tensor

    def estimator(self) -> Estimator:
        """A fresh one; those of the paper's with weights look through a stand-in of their networks."""
        return _kind(self.name)(self.about)

    def feed(self, metric: Any, frames: Sequence[int], given: bool = True) -> Any:
        """Give a metric some frames, a few at a time, with their positions or without."""
        for part in torch.tensor(frames).split(CHUNK):
            metric.update(self.video[part], **({"positions": part.tolist()} if given else {}))
        return metric


@functools.cache
def _kind(name: str) -> type[Estimator]:
    family = name.partition("/")[0]
    kind = FAMILIES[family][name]
    if family.startswith("paper") and kind.artifacts():
        return type(kind.__name__, (kind,), {"observer": _stand_in(kind.observer)})
    return kind


def _stand_in(observer: Any) -> Any:
    class StandIn(observer):  # type: ignore[misc]
        def keep(self, frame: Tensor, position: int) -> Tensor:
            return frame

        def look(self, windows: Any, starts: Any) -> list[Any]:
            seen = [float((window[-1] - window[0] / 2).abs().mean()) for window in windows]
            return seen if self.span == 1 else [TopMotion(20 * one, 64, 64) for one in seen]

    return StandIn


def in_collections(cases: Sequence[Case]) -> dict[str, Series]:
    """All estimators of a video in one collection with compute groups."""
    found: dict[str, Series] = {}
    for video in {id(case.video): case.video for case in cases}.values():
        own = [case for case in cases if case.video is video]
        names = {case.name.replace("/", "_").replace(".", "_"): case for case in own}
        together = MetricCollection(
            {key: case.estimator() for key, case in names.items()}, compute_groups=True
        )
        own[0].feed(together, range(len(video)))
        found |= {names[key].name: series for key, series in together.compute().items()}
    return found


def in_rank(rank: int, cases: Sequence[Case], folder: str) -> None:
    """One of two processes, which measures its half of each video; the first one stores what both found."""
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found: dict[str, Any] = {}
    for case in cases:
        half = range(BORDER) if rank == 0 else range(BORDER, len(case.video))
        metric = case.feed(case.estimator(), half)
        try:
            found[case.name] = as_plain(metric.compute())
        except ValueError as refused:
            found[case.name] = str(refused)
    torch.save(found, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def as_plain(series: Series) -> Mapping[str, Any]:
    """Values, positions and score as tensors."""
    return {
        "values": torch.from_numpy(series.values),
        "positions": torch.from_numpy(series.positions),
        "score": torch.tensor(series.score, dtype=torch.float64),
    }
