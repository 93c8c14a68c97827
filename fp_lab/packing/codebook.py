"""The discrete history (``+D``): every pixel of a known latent frame becomes the nearest of K centroids.

History discretisation of the FramePack paper (https://arxiv.org/abs/2504.12626): K-means over the latent
pixels of the data set, applied to the history in training and in sampling, so that the values sampling
conditions on are values it was trained on. K = 1 leaves nothing of the history, so nothing can drift;
K = the number of distinct pixels changes nothing.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

_PAIRS_AT_ONCE = 2**22  # distances held at once; the result does not depend on it
_SAMPLE = 2**14  # pixels that the first centroids are drawn from, or _SAMPLE_PER_CENTROID * K if that is more
_SAMPLE_PER_CENTROID = 4
_SHUFFLED_AT_ONCE = 2**18  # pixels that are mixed with each other: minibatches of one video err 4% more
_MINIBATCH = 2**12  # pixels per step of K-means, or K if that is more


class Codebook(nn.Module):
    """K centroids of latent pixels, stored with the model that was trained with them.

    Attributes:
        centroids: float32 ``size channels``; NaN until they are fitted (`fit_codebook`) or loaded.
    """

    centroids: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        if size < 1 or channels < 1:
            raise ValueError(
                f"codebook: got {size} centroids of {channels} channels, expected at least 1 and 1"
            )
        self.register_buffer("centroids", torch.full((size, channels), math.nan))

    @property
    def size(self) -> int:
        """Number of centroids, K."""
        return self.centroids.shape[0]

    @property
    def channels(self) -> int:
        """Channels of a latent pixel."""
        return self.centroids.shape[1]

    def forward(self, latents: Tensor) -> Tensor:
        """Replace every pixel by its nearest centroid.

        Args:
            latents: ``b c t h w``, of any floating type.

        Returns:
            Latents ``b c t h w`` of the same type, without a gradient.

        Raises:
            ValueError: as `indices`.
        """
        return rearrange(self.centroids[self.indices(latents)], "b t h w c -> b c t h w").to(latents.dtype)

    @torch.no_grad()
    def indices(self, latents: Tensor) -> Tensor:
        """The nearest centroid of every pixel (squared Euclidean distance; of equals the lowest index).

        Args:
            latents: ``b c t h w``, of any floating type; compared in float32.

        Returns:
            Int64 ``b t h w`` in 0 .. size - 1.

        Raises:
            ValueError: another number of channels, latents that are NaN or infinite, or centroids that were
                neither fitted nor loaded.
        """
        pixels = _pixels(latents, self.channels)
        centroids = self.centroids.float()
        # |x|^2 - 2xc + |c|^2 is twice as fast, but confuses centroids closer than 1e-3 in float32
        mode = "donot_use_mm_for_euclid_dist"
        parts = [
            torch.cdist(part, centroids, compute_mode=mode).min(1)
            for part in pixels.split(max(1, _PAIRS_AT_ONCE // self.size))
        ]
        if not torch.cat([part.values for part in parts]).isfinite().all():
            _require_finite(pixels)
            raise ValueError(
                f"codebook: got {self.size} centroids that hold NaN or infinity, expected centroids fitted "
                "with fit_codebook or loaded from a state dict"
            )
        b, _, t, h, w = latents.shape
        return torch.cat([part.indices for part in parts]).view(b, t, h, w)


@dataclass(frozen=True)
class CodebookStats:
    """What a codebook does to latents.

    Attributes:
        size: number of centroids, K.
        distinct: different centroids among them; fewer than K where the data had fewer distinct pixels.
        used: centroids that are the nearest one of at least one pixel; ``size - used`` are dead.
        usage: ``used / size``, in (0, 1].
        perplexity: exp of the entropy of the assignment in nats, in [1, used]; `used` if all are hit alike.
        error: mean squared difference of latents and their discretisation, over pixels and channels.
        relative_error: `error` over the variance of the pixels, in 0 .. 1 for fitted latents (1 at K = 1);
            0 without error, infinite where latents without variance have one.
    """

    size: int
    distinct: int
    used: int
    usage: float
    perplexity: float
    error: float
    relative_error: float


def fit_codebook(
    chunks: Callable[[], Iterable[Tensor]],
    size: int,
    *,
    seed: int,
    passes: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Codebook:
    """K-means over latent pixels, streamed: `sklearn.cluster.MiniBatchKMeans` on shuffled minibatches.

    A pass before `passes` draws a uniform sample of the pixels, on which k-means++ chooses the first
    centroids, and counts distinct pixels. If these are no more than `size`, they are the codebook, repeated
    up to `size` (a repeat is never the nearest centroid, see `CodebookStats.distinct`). Memory holds a
    chunk, 2^18 pixels and the sample, not the data set.

    Args:
        chunks: gives the same latents ``b c t h w`` at every call; called ``1 + passes`` times. With latents
            in memory ``lambda: latents.split(16)``. More videos per chunk mix better, up to 2^18 pixels.
        size: number of centroids, K.
        seed: of the sample and the shuffling; the same chunks and seed give the same centroids.
        passes: over the data; 4 are within 3% of the error of Lloyd's algorithm at convergence.
        progress: called with chunks seen and chunks in all, from the end of the first pass on.

    Raises:
        ValueError: size or passes below 1, no pixels, chunks of different channels, latents that are NaN or
            infinite, or another number of pixels at a later call.
    """
    if size < 1 or passes < 1:
        raise ValueError(
            f"codebook: got {size} centroids and {passes} passes over the data, expected at least 1 and 1"
        )
    generator = torch.Generator().manual_seed(seed)
    survey = _survey(chunks(), size, generator)
    codebook = Codebook(size, survey.sample.shape[1])
    total = survey.chunks * (1 + passes)
    report = progress or (lambda done, total: None)
    report(survey.chunks, total)
    done = survey.chunks

    def counted() -> Iterator[Tensor]:
        nonlocal done
        pixels = 0
        for latents in chunks():
            part = _finite_pixels(latents, codebook.channels)
            yield part
            pixels, done = pixels + len(part), done + 1
            report(done, total)
        if pixels != survey.pixels:
            raise ValueError(
                f"codebook: got chunks of {pixels} pixels after {survey.pixels} in the first pass, expected "
                "chunks() to give the same latents at every call, such as lambda: latents.split(16)"
            )

    if len(survey.distinct) > size:
        codebook.centroids.copy_(_minibatch_kmeans(counted, survey, size, passes, generator))
    else:
        codebook.centroids.copy_(survey.distinct[torch.arange(size) % len(survey.distinct)])
        report(total, total)
    return codebook


def codebook_stats(codebook: Codebook, chunks: Iterable[Tensor]) -> CodebookStats:
    """Usage and error of a codebook on latents, streamed: sums and a histogram, no data is held.

    Args:
        codebook: fitted or loaded.
        chunks: latents ``b c t h w``.

    Raises:
        ValueError: no pixels, or as `Codebook.indices`.
    """
    centroids = codebook.centroids.double().cpu()
    counts = torch.zeros(codebook.size, dtype=torch.int64)
    sums, squares = (torch.zeros(codebook.channels, dtype=torch.float64) for _ in range(2))
    squared_error = 0.0
    for latents in chunks:
        indices = codebook.indices(latents.to(codebook.centroids.device)).flatten().cpu()
        pixels = _pixels(latents, codebook.channels).double().cpu()
        counts += torch.bincount(indices, minlength=codebook.size)
        sums += pixels.sum(0)
        squares += pixels.square().sum(0)
        squared_error += (pixels - centroids[indices]).square().sum().item()
    pixels_seen = int(counts.sum())
    if not pixels_seen:
        raise ValueError("codebook: got no pixels, expected latents b c t h w to measure it on")
    share = counts[counts > 0].double() / pixels_seen
    error = squared_error / (pixels_seen * codebook.channels)
    variance = (squares / pixels_seen - (sums / pixels_seen).square()).clamp(min=0).mean().item()
    return CodebookStats(
        size=codebook.size,
        distinct=len(centroids.unique(dim=0)),
        used=len(share),
        usage=len(share) / codebook.size,
        perplexity=math.exp(-(share * share.log()).sum().item()),
        error=error,
        relative_error=error / variance if variance else (math.inf if error else 0.0),
    )


@dataclass(frozen=True)
class _Survey:
    """What the first pass learns: numbers of chunks and pixels, a sample, the first `size` + 1 distinct."""

    chunks: int
    pixels: int
    sample: Tensor
    distinct: Tensor


def _survey(chunks: Iterable[Tensor], size: int, generator: torch.Generator) -> _Survey:
    """Count, sample uniformly (the pixels of the lowest random keys), and look for distinct pixels."""
    limit = max(_SAMPLE, _SAMPLE_PER_CENTROID * size)
    count, total = 0, 0
    sample = distinct = torch.empty(0)
    keys = torch.empty(0, dtype=torch.float64)
    for latents in chunks:
        pixels = _finite_pixels(latents, sample.shape[1] if count else None)
        if not count:
            sample = distinct = pixels[:0]
        count, total = count + 1, total + len(pixels)
        keys = torch.cat([keys, torch.rand(len(pixels), generator=generator, dtype=torch.float64)])
        keys, kept = keys.topk(min(limit, len(keys)), largest=False)
        sample = torch.cat([sample, pixels])[kept]
        for part in pixels.split(_SAMPLE_PER_CENTROID * size):
            if len(distinct) <= size:
                distinct = torch.cat([distinct, part]).unique(dim=0)
    if not total:
        raise ValueError(f"codebook: got no pixels in {count} chunks, expected latents b c t h w to fit")
    return _Survey(count, total, sample, distinct)


def _minibatch_kmeans(
    pixels: Callable[[], Iterable[Tensor]],
    survey: _Survey,
    size: int,
    passes: int,
    generator: torch.Generator,
) -> Tensor:
    """Centroids ``size channels`` of data with more than `size` distinct pixels."""
    from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus

    # a sample of mostly equal pixels has too few distinct ones by itself
    candidates = torch.cat([survey.sample, survey.distinct]).numpy()
    seed = int(torch.randint(2**31, (), generator=generator))
    first, _ = kmeans_plusplus(candidates, size, random_state=seed)
    # by default it replaces rare centroids by random pixels every few steps: 8% more error at K = 1024
    kmeans = MiniBatchKMeans(
        size, init=first, n_init=1, reassignment_ratio=0, compute_labels=False, random_state=seed
    )
    for _ in range(passes):
        for shuffled in _shuffled(pixels(), generator):
            for minibatch in shuffled.split(max(_MINIBATCH, size)):
                kmeans.partial_fit(minibatch.numpy())
    return torch.from_numpy(kmeans.cluster_centers_)


def _shuffled(chunks: Iterable[Tensor], generator: torch.Generator) -> Iterator[Tensor]:
    """Join chunks of pixels ``n c`` until they are many, and mix them."""
    held: list[Tensor] = []

    def mixed() -> Tensor:
        joined = torch.cat(held)
        held.clear()
        return joined[torch.randperm(len(joined), generator=generator)]

    for pixels in chunks:
        held.append(pixels)
        if sum(map(len, held)) >= _SHUFFLED_AT_ONCE:
            yield mixed()
    if held:
        yield mixed()


def _pixels(latents: Tensor, channels: int | None) -> Tensor:
    """Float32 ``n c`` of latents ``b c t h w``, whose channels must be as many as expected (None: any)."""
    if latents.ndim != 5 or latents.shape[1] != (channels or latents.shape[1]):
        raise ValueError(
            f"codebook: got latents of shape {tuple(latents.shape)}, expected b c t h w"
            + (f" with {channels} channels" if channels else "")
        )
    return rearrange(latents.detach(), "b c t h w -> (b t h w) c").float()


def _finite_pixels(latents: Tensor, channels: int | None) -> Tensor:
    pixels = _pixels(latents, channels).cpu()
    _require_finite(pixels)
    return pixels


def _require_finite(pixels: Tensor) -> None:
    bad = int((~pixels.isfinite()).sum())
    if bad:
        raise ValueError(
            f"codebook: got latents of which {bad} of {pixels.numel()} values are NaN or infinite, expected "
            "finite ones"
        )
