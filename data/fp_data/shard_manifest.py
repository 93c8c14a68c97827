"""What a latent cache holds and what made it: the file that is written anew with each shard."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fp_data.buckets import Bucket
from fp_data.damaged import reading_format

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """All that the content of a cache depends on; only the same origin continues it.

    Attributes:
        data: Where the clips come from and how they are cut: JSON values.
        encoder_sha256: Digest of what latents depend on.
        conditions: What made each condition, by the condition's name (`text`: identity of the text encoder).
    """

    data: Mapping[str, Any]
    encoder_sha256: str
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Moments:
    """Statistics of latents per channel, in float64; sums of parts are those of the whole.

    Attributes:
        count: Values per channel.
        mean: Per channel.
        squares: Summed squared deviations from the mean, per channel.
    """

    count: int
    mean: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, latents: Tensor) -> "Moments":
        """Those of latents ``c t h w``."""
        # numpy's sums do not depend on the number of threads
        values = latents.flatten(1).double().numpy()
        mean = values.mean(1)
        squares = ((values - mean[:, None]) ** 2).sum(1)
        return cls(values.shape[1], tuple(mean.tolist()), tuple(squares.tolist()))

    def __add__(self, other: "Moments") -> "Moments":
        """Those of both parts together (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        steps = [b - a for a, b in zip(self.mean, other.mean, strict=True)]
        mean = tuple(a + step * other.count / count for a, step in zip(self.mean, steps, strict=True))
        between = [step**2 * self.count * other.count / count for step in steps]
        within = zip(self.squares, other.squares, between, strict=True)
        return Moments(count, mean, tuple(map(sum, within)))

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel (of the population)."""
        return tuple((squares / self.count) ** 0.5 for squares in self.squares)


@dataclass(frozen=True)
class Shard:
    """What the manifest says of a shard.

    Attributes:
        file: Name inside the cache's folder.
        sha256: Of the file.
        size: Bytes of the file.
        bucket: Of all its samples.
        shape: ``c t h w`` of each sample's latents.
        indices: Which samples it holds, counted over the data set, in the order of its rows.
        moments: Of its latents, as stored.
    """

    file: str
    sha256: str
    size: int
    bucket: Bucket
    shape: tuple[int, int, int, int]
    indices: tuple[int, ...]
    moments: Moments


@dataclass(frozen=True)
class Manifest:
    """What a cache holds and what made it.

    Attributes:
        origin: What made it.
        dtype: Of stored latents.
        per_shard: Samples of a full shard.
        complete: Whether the whole data set is encoded.
        shards: In the order of their numbers.
    """

    origin: Origin
    dtype: str
    per_shard: int
    complete: bool = False
    shards: tuple[Shard, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples the shards hold together."""
        return sum(len(shard.indices) for shard in self.shards)

    @property
    def shapes(self) -> dict[tuple[int, int, int], int]:
        """Frames, rows and columns of latents, and how many samples have them."""
        counts = Counter[tuple[int, int, int]]()
        for shard in self.shards:
            counts[shard.shape[1:]] += len(shard.indices)
        return dict(counts)

    @property
    def moments(self) -> Moments | None:
        """Statistics of all latents; None of an empty cache."""
        parts = [shard.moments for shard in self.shards]
        return sum(parts[1:], parts[0]) if parts else None

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read the manifest of a cache.

        Raises:
            ValueError: There is none, or it is damaged or of another format.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ValueError(f"no latent cache in {folder}: expected {MANIFEST} there")
        with reading_format(path, _FORMAT, "run the command that made the cache again") as stored:
            shards = tuple(map(_shard, stored["shards"]))
            settings = stored["dtype"], stored["per_shard"], stored["complete"]
            return cls(Origin(**stored["origin"]), *settings, shards)

    def text(self) -> str:
        """The content of the manifest's file: JSON, a line per shard."""
        moments = self.moments
        statistics = moments and {"count": moments.count, "mean": moments.mean, "std": moments.std}
        told = {"format": _FORMAT, "samples": self.samples, "statistics": statistics, **vars(self)}
        del told["shards"]
        head = json.dumps(told, indent=1, default=vars).removesuffix("\n}")
        # shard by shard: an indented dump of a million samples takes seconds, and is written once per shard
        shards = ",\n".join(json.dumps(shard, default=vars) for shard in self.shards)
        return f'{head},\n "shards": [\n{shards}\n ]\n}}\n'


def _shard(stored: dict[str, Any]) -> Shard:
    moments = stored["moments"]
    typed = {
        "bucket": Bucket(**stored["bucket"]),
        "shape": tuple(stored["shape"]),
        "indices": tuple(stored["indices"]),
        "moments": Moments(moments["count"], tuple(moments["mean"]), tuple(moments["squares"])),
    }
    return Shard(**stored | typed)
