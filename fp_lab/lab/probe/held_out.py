"""Accuracy of a probe on held-out renders and videos."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Generator, Tensor

from fp_data.latents import to_frames, to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codecs.tiny import Codec
from fp_lab.flow.solvers import SolverConfig
from fp_lab.lab.probe.damage import blur, dents, tint, white_noise, with_object
from fp_lab.lab.probe.samples import Samples, make_samples, together
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.world_truth import world_truths
from fp_lab.model import FramePackModel
from fp_lab.recipe import parse
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_metrics import FAMILIES, About, Estimator, WorldTruth
from fp_metrics.families.probe import read_by
from fp_metrics.networks.probe import Probe
from fp_metrics.observer import Watch

FIRST_RENDER, FIRST_VIDEO = 5_000, 6_000
"""First seeds of held-out renders and videos: none below 10,000 is trained on, and grids evaluate on the
first of them."""
ARMS = (("g9", "own"), ("td_f3k1_g9", "own"), ("td_f3k1_g9", "true"))
"""Recipes and histories of videos by the shipped base, to compare with the truth-based family."""
DEMO_KINDS = ("none", "codec", "blur 0.8", "blur 2", "fading", "vanished", "dented", "melting")
"""Kinds of damage in videos of the demo. Not washed out: the truth-based family loses the object then. Not
swapped: to the probe that is a whole object, to the truth a wrong one."""

Damaged = Callable[[Tensor, WorldTruth], Tensor]


@dataclass(frozen=True)
class HeldOutConfig:
    """Held-out data that a probe is measured on.

    Attributes:
        renders: number of single frames, a multiple of 64.
        videos: number of videos of the world, each with every kind of damage.
        frames: number of frames of each video.
        generated: number of videos by the shipped base for each of `ARMS`; 0: none.
    """

    renders: int = 512
    videos: int = 8
    frames: int = 16
    generated: int = 8


def measure_probe(
    probe: Probe, config: HeldOutConfig, codec: Codec, reporter: Reporter | None = None
) -> dict[str, float]:
    """Measure the values of `fp_metrics.families.probe.held_out`, rounded to 4 digits.

    Args:
        probe: probe in inference mode.
        config: held-out data.
        codec: codec of damaged renders and generated videos.
        reporter: receiver of progress.
    """
    reporter = reporter or Reporter()
    reporter.begin("measure", 3)
    reporter.advance(0, "held-out renders")
    figures = on_renders(probe, held_out_renders(config.renders, codec))
    reporter.advance(1, "damaged videos")
    truths = world_truths(WorldConfig(frames=config.frames), _seeds(config.videos))
    captions = render(WorldConfig(frames=1), _seeds(config.videos)).captions
    pairs, kinds = [], []
    for index, (truth, caption) in enumerate(zip(truths, captions, strict=True)):
        other = truths[(index + 1) % len(truths)]
        for kind, damage in damages(other, codec).items():
            kinds.append(kind)
            pairs.append(
                both_scores(probe, damage(_video(truth.frames), truth), About(prompt=caption, truth=truth))
            )
    figures |= _agreement("damaged", pairs)
    as_demo = [pair for pair, kind in zip(pairs, kinds, strict=True) if kind in DEMO_KINDS]
    figures |= _agreement("demo", as_demo)
    if config.generated:
        reporter.advance(2, "generated videos")
        figures |= _agreement("generated", _generated(probe, config.generated, codec))
    return {name: round(value, 4) for name, value in figures.items()}


def held_out_renders(count: int, codec: Codec) -> Samples:
    """Yield renders damaged as in training, of held-out scenes."""
    generator = Generator().manual_seed(FIRST_RENDER)
    starts = range(FIRST_RENDER, FIRST_RENDER + count, 64)
    return together([make_samples(list(range(start, start + 64)), generator, codec) for start in starts])


@torch.inference_mode()
def on_renders(probe: Probe, samples: Samples) -> dict[str, float]:
    """Measure accuracy or error of every head."""
    out = probe(samples.frames)
    named, outlined, whole = samples.named > 0, samples.outlined > 0, samples.centred > 0
    visible, formed, clear = out.visible.sigmoid(), out.well_formed.sigmoid(), out.clarity.sigmoid()
    figures = {"renders": float(len(samples.frames))}
    for head in ("shape", "colour", "texture"):
        right = getattr(out, head).argmax(1) == getattr(samples, head)
        figures[f"{head}_accuracy"] = float(right[named].float().mean())
    figures["presence_accuracy"] = float(((visible > 0.25) == (samples.visible > 0.25)).float().mean())
    figures["well_formed_error"] = float((formed - samples.well_formed)[outlined].abs().mean())
    figures["sharpness_error"], figures["noise_error"] = (clear - samples.clarity).abs().mean(0).tolist()
    figures["centre_error_px"] = float((out.centre - samples.centres)[whole].norm(dim=1).mean())
    return figures | {"identity_auc": _identity_auc(out.embedding, samples)}


def _identity_auc(embedding: Tensor, samples: Samples) -> float:
    """Probability that two frames of same-named objects are more alike than two of differently named ones."""
    kept = samples.named > 0
    cosine = embedding[kept] @ embedding[kept].T
    names = torch.stack((samples.shape, samples.colour, samples.texture), 1)[kept]
    same = (names[:, None] == names).all(2)
    pairs = torch.ones_like(same).triu(1)
    alike, different = cosine[pairs & same], cosine[pairs & ~same]
    below = torch.searchsorted(different.sort().values, alike).double() / len(different)
    return float(below.mean())


def damages(other: WorldTruth, codec: Codec) -> Mapping[str, Damaged]:
    """Return kinds of damage to a video ``(t, 3, h, w)`` of known truth, as in generated videos.

    Args:
        other: video whose object replaces the first one halfway, in one kind.
        codec: codec of the round trip, in one kind.
    """

    def noisy(deviation: float) -> Damaged:
        return lambda v, _: white_noise(
            v, torch.full((len(v),), deviation), Generator().manual_seed(1)
        ).clamp(0, 1)

    def blurred(sigma: float) -> Damaged:
        return lambda v, _: blur(v, torch.full((len(v),), sigma))

    def bare(truth: WorldTruth) -> Tensor:
        return _video(truth.backgrounds).expand(truth.length, -1, -1, -1)

    def fading(video: Tensor, truth: WorldTruth) -> Tensor:
        return video.lerp(bare(truth), torch.linspace(0, 1, len(video))[:, None, None, None])

    def dented(video: Tensor, truth: WorldTruth, growing: bool) -> Tensor:
        shift = dents(Generator().manual_seed(2), 1, video.shape[-1]).expand(len(video), -1, -1, -1)
        shift = shift * torch.linspace(0, 1.5, len(video))[:, None, None, None] if growing else shift
        return with_object(video, bare(truth), truth.masks[:, None].float(), shift)[0]

    def shuffled(video: Tensor, truth: WorldTruth) -> Tensor:
        return video[torch.randperm(len(video), generator=Generator().manual_seed(3))]

    def frozen(video: Tensor, truth: WorldTruth) -> Tensor:
        return video[torch.arange(len(video)).clamp(max=len(video) // 3)]

    half = other.length // 2
    return {
        "none": lambda v, _: v,
        "codec": lambda v, _: _video(to_frames(codec.decode(codec.encode(v.movedim(0, 1)[None] * 2 - 1)))[0]),
        "blur 0.8": blurred(0.8),
        "blur 2": blurred(2.0),
        "noise 0.02": noisy(0.02),
        "noise 0.08": noisy(0.08),
        "washed out": lambda v, _: tint(v, torch.full((len(v),), 0.5), torch.zeros(len(v), 3)),
        "fading": fading,
        "vanished": lambda v, t: torch.cat((v[:half], bare(t)[half:])),
        "dented": lambda v, t: dented(v, t, growing=False),
        "melting": lambda v, t: dented(v, t, growing=True),
        "swapped": lambda v, _: torch.cat((v[:half], _video(other.frames)[half:])),
        "shuffled": shuffled,
        "frozen": frozen,
    }


def both_scores(probe: Probe, video: Tensor, about: About) -> tuple[dict[str, float], dict[str, float]]:
    """Score one video by the probe and by the truth-based family."""
    return scores_of(read_by(probe), video, replace(about, truth=None)), scores_of(
        FAMILIES["world"], video, about
    )


def scores_of(estimators: Mapping[str, type[Estimator]], video: Tensor, about: About) -> dict[str, float]:
    """Return score -> value of one video; every observer runs once."""
    observers = dict.fromkeys(kind.observer for kind in estimators.values())
    seen = {kind: Watch(kind(about)).take(video, range(len(video))) for kind in observers}
    found = {}
    for kind in estimators.values():
        estimator = kind(about)
        estimator.take(seen[kind.observer], range(len(video)))
        found[str(kind.score)] = estimator.compute().score
    return found


def _agreement(kind: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    """Compute Spearman's rank correlation of each score over videos, without constant scores."""
    figures = {f"{kind}/videos": float(len(pairs))}
    for score in pairs[0][0]:
        read, true = (np.array([pair[side][score] for pair in pairs]) for side in (0, 1))
        defined = np.isfinite(read) & np.isfinite(true)
        if score != "aesthetic" and len(set(read[defined])) > 1 and len(set(true[defined])) > 1:
            figures[f"{kind}/{score}"] = float(spearmanr(read[defined], true[defined]).statistic)
    return figures


@torch.no_grad()
def _generated(probe: Probe, count: int, codec: Codec) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Both scores of videos generated by the shipped base."""
    world, seeds = WorldConfig(frames=28), _seeds(count)
    truths, captions = world_truths(world, seeds), render(WorldConfig(frames=1), seeds).captions
    latents = codec.encode(to_pixels(torch.stack([truth.frames for truth in truths])))
    model, pairs = FramePackModel.load().eval(), []
    for recipe, history in ARMS:
        made = latents.clone()
        for rolled in rollout(
            model, parse(recipe), latents[:, :, :1], frames=world.frames, captions=captions, seeds=seeds,
            sampling=SamplingConfig(SolverConfig("euler", 8)), history=latents if history == "true" else None,
        ):  # fmt: skip
            made[:, :, list(rolled.section.targets)] = rolled.latents
        videos = to_frames(codec.decode(made))
        for video, truth, caption in zip(videos, truths, captions, strict=True):
            pairs.append(both_scores(probe, _video(video), About(prompt=caption, truth=truth)))
    return pairs


def _seeds(count: int) -> range:
    return range(FIRST_VIDEO, FIRST_VIDEO + count)


def _video(frames: Tensor) -> Tensor:
    """Convert frames uint8 ``(t, h, w, 3)`` to float32 ``(t, 3, h, w)`` in [0, 1]."""
    return frames.movedim(-1, 1).float() / 255
