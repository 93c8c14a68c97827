"""What damage does to every score on real clips: python benchmarks/corruptions.py --write docs/metrics.md.

Every clip is shown as it is and with ten kinds of damage, each at three strengths. A cell of the table is the
mean change of a score (or of its drift) over the clips, in units of that score's own noise: the standard
deviation of its mean over a third of a clean clip, between thirds, averaged over clips.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fp_data.clips import caption
from fp_data.get_clips import get_clips
from fp_data.read_video import read_video
from fp_lab.lab.runtime.process_pool import Advance, pooled
from fp_metrics import About, Series, choose, score_video

Frames = NDArray[np.uint8]


def blur(frames: Frames, strength: float) -> Frames:
    """Gaussian, sigma in pixels."""
    return np.stack([cv2.GaussianBlur(f, (0, 0), strength) for f in frames])


def noise(frames: Frames, strength: float) -> Frames:
    """White, standard deviation in levels of 255."""
    added = np.random.default_rng(0).normal(0, strength, frames.shape)
    return np.clip(frames + added, 0, 255).astype(np.uint8)


def jpeg(frames: Frames, strength: float) -> Frames:
    """Of quality 100 - strength."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(100 - strength)]
    return np.stack([cv2.imdecode(cv2.imencode(".jpg", f, options)[1], cv2.IMREAD_COLOR) for f in frames])


def colour_cast(frames: Frames, strength: float) -> Frames:
    """Blue and green fall, red rises, by a share of 255."""
    shift = np.array([strength, -strength / 2, -strength]) * 255
    return np.clip(frames + shift, 0, 255).astype(np.uint8)


def washed_out(frames: Frames, strength: float) -> Frames:
    """Towards grey, by a share."""
    return np.clip(frames * (1 - strength) + 128 * strength, 0, 255).astype(np.uint8)


def freeze(frames: Frames, strength: float) -> Frames:
    """The last share of the frames repeats one."""
    last = round((1 - strength) * len(frames)) - 1
    return frames[np.minimum(np.arange(len(frames)), max(0, last))]


def shuffle(frames: Frames, strength: float) -> Frames:
    """Blocks of so many frames in random order inside themselves."""
    rng, size = np.random.default_rng(0), int(strength)
    order = [i for b in range(0, len(frames), size) for i in b + rng.permutation(min(size, len(frames) - b))]
    return frames[np.array(order)]


def loop(frames: Frames, strength: float) -> Frames:
    """The first frames again and again, so many times."""
    period = len(frames) // int(strength)
    return frames[np.arange(len(frames)) % period]


def swap(frames: Frames, strength: float, *, other: Frames) -> Frames:
    """From half time on another clip shows through, by a share."""
    half, mixed = len(frames) // 2, frames.astype(np.float64)
    mixed[half:] = (1 - strength) * mixed[half:] + strength * other[half : len(frames)]
    return mixed.astype(np.uint8)


def decay(frames: Frames, strength: float) -> Frames:
    """Blur that grows in proportion to time, to this sigma at the end."""
    sigmas = np.linspace(0, strength, len(frames))
    return np.stack(
        [f if s < 0.05 else cv2.GaussianBlur(f, (0, 0), s) for f, s in zip(frames, sigmas, strict=True)]
    )


@dataclass(frozen=True)
class Damage:
    """One kind of damage and what it must move: estimator -> +1 (the figure rises) or -1."""

    make: Callable[..., Frames]
    strengths: tuple[float, float, float]
    moves: dict[str, int]
    drifts: dict[str, int]


DAMAGE: dict[str, Damage] = {
    "blur": Damage(blur, (1, 2, 4), {"offline/niqe": 1, "offline/brisque": 1}, {}),
    "noise": Damage(noise, (8, 16, 32), {"offline/niqe": 1, "offline/brisque": 1}, {}),
    "jpeg": Damage(jpeg, (70, 85, 95), {"offline/niqe": 1, "offline/brisque": 1}, {}),
    "colour cast": Damage(colour_cast, (0.1, 0.2, 0.4), {}, {}),
    "washed out": Damage(washed_out, (0.25, 0.5, 0.75), {"offline/hand-made-colour-contrast": -1}, {}),
    "freeze": Damage(freeze, (0.25, 0.5, 0.75), {"offline/dis-top5-flow": -1}, {"offline/dis-top5-flow": -1}),
    "shuffle": Damage(shuffle, (2, 4, 8), {"offline/rife-middle-frame": -1, "offline/dis-top5-flow": 1}, {}),
    "loop": Damage(loop, (2, 3, 4), {}, {}),
    "swap at half time": Damage(swap, (0.25, 0.5, 1.0), {"offline/feature-to-first": -1}, {}),
    "growing blur": Damage(decay, (1, 2, 4), {}, {"offline/niqe": 1, "offline/brisque": 1}),
}


@dataclass(frozen=True)
class Task:
    """One damaged clip."""

    clip: str
    prompt: str
    damage: str
    level: int
    frames: Frames
    metrics: tuple[str, ...] | None


Figures = dict[str, tuple[float, float, float]]
"""Estimator -> score, signed drift, noise of the score."""


def measure(task: Task, advance: Advance) -> Figures:
    """All estimators on one clip."""
    video = torch.from_numpy(task.frames).movedim(-1, 1).to(torch.float32) / 255
    found = score_video(
        [video], length=len(video), families=("offline",), metrics=task.metrics,
        about=About(24, task.prompt),
    )  # fmt: skip
    advance(len(video))
    return {
        name: (series.score, found.drift[name].signed, spread(series, len(video)))
        for name, series in found.series.items()
    }


def spread(series: Series, length: int) -> float:
    """Standard deviation of the score between the thirds of a video."""
    means = []
    for part in range(3):
        values = series.values[series.inside(range(part * length // 3, (part + 1) * length // 3))]
        values = values[np.isfinite(values)]
        if len(values):
            means.append(values.mean())
    return float(np.std(means, ddof=1)) if len(means) > 1 else math.nan


def read_clip(path: Path, count: int, side: int) -> Frames:
    """Its first frames, the longer side at most `side`."""
    frames = []
    for frame in read_video(path, 0, count):
        scale = min(1.0, side / max(frame.shape[:2]))
        size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        frames.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    return np.stack(frames).astype(np.uint8)


def tasks_of(
    clips: dict[str, Frames], prompts: dict[str, str], metrics: tuple[str, ...] | None
) -> list[Task]:
    """Every clip as it is, then damaged in every way at every strength."""
    tasks, names = [], list(clips)
    for index, (name, frames) in enumerate(clips.items()):
        tasks.append(Task(name, prompts[name], "clean", 0, frames, metrics))
        other = clips[names[(index + 1) % len(names)]]
        fitted = np.stack([cv2.resize(f, (frames.shape[2], frames.shape[1])) for f in other])
        for damage, kind in DAMAGE.items():
            make = partial(kind.make, other=fitted) if kind.make is swap else kind.make
            for level, strength in enumerate(kind.strengths, start=1):
                tasks.append(Task(name, prompts[name], damage, level, make(frames, strength), metrics))
    return tasks


def changes(
    results: dict[tuple[str, str, int], Figures], clips: Sequence[str], name: str, figure: int
) -> dict[str, list[float]]:
    """Damage -> mean change at each strength in units of noise, over the clips where both are defined."""
    noises = [results[clip, "clean", 0][name][2] for clip in clips]
    unit = float(np.nanmean(noises)) if np.isfinite(noises).any() else math.nan
    found = {}
    for damage in DAMAGE:
        row = []
        for level in (1, 2, 3):
            pairs = [
                (results[c, damage, level][name][figure], results[c, "clean", 0][name][figure]) for c in clips
            ]
            defined = [a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
            row.append(float(np.mean(defined)) / unit if defined else math.nan)
        found[damage] = row
    return found


def verdict(row: Sequence[float], sign: int) -> str:
    """Whether it moved as it must: the right way and monotonically, at the end beyond the noise."""
    steps = np.array([0.0, *row]) * sign
    right = bool((np.diff(steps) > -0.15 * abs(steps[-1])).all() and steps[-1] > 0)
    return "✓" if right and steps[-1] > 1 else "(✓)" if right else "✗"


def table(results: dict[tuple[str, str, int], Figures], clips: Sequence[str], names: Sequence[str]) -> str:
    """Markdown: one row per damage, one column per estimator; what must move carries a mark."""
    short = [name.partition("/")[2] for name in names]
    lines = []
    for figure, title in enumerate(("Change of the score", "Change of its drift")):
        lines += [f"**{title}, in units of the score's own noise, at rising strength**", ""]
        lines += [f"| damage | {' | '.join(short)} |", f"|:--|{'--:|' * len(names)}"]
        every = {name: changes(results, clips, name, figure) for name in names}
        for damage, kind in DAMAGE.items():
            cells = []
            for name in names:
                row = every[name][damage]
                text = " ".join(f"{v:+.1f}" if math.isfinite(v) else "–" for v in row).replace("-", "−")
                must = (kind.moves, kind.drifts)[figure].get(name)
                measured = np.isfinite(row).any()  # NIQE refuses small frames
                cells.append(f"**{text}** {verdict(row, must)}" if must and measured else text)
            strengths = ", ".join(f"{strength:g}" for strength in kind.strengths)
            lines.append(f"| {damage} {strengths} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and put the table between the marks of a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=40, help="of each clip")
    parser.add_argument("--side", type=int, default=320, help="longer side, pixels")
    parser.add_argument("--metrics", help="scores or estimators, separated by commas; default: all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--write", type=Path, help="page with the marks <!-- NAME:begin --> and <!-- NAME:end -->"
    )
    parser.add_argument("--marks", default="corruptions", help="their NAME")
    asked = parser.parse_args()
    metrics = tuple(asked.metrics.split(",")) if asked.metrics else None
    paths = get_clips()
    clips = {path.stem: read_clip(path, asked.frames, asked.side) for path in paths}
    tasks = tasks_of(clips, {path.stem: caption(path) for path in paths}, metrics)
    results: dict[tuple[str, str, int], Figures] = {}
    for index, figures in pooled(measure, tasks, workers=asked.workers):
        task = tasks[index]
        results[task.clip, task.damage, task.level] = figures
        print(f"\r{len(results)}/{len(tasks)}", end="", flush=True)
    text = table(results, list(clips), list(choose(("offline",), metrics)))
    print("\n" + text)
    if asked.write:
        begin, end = (f"<!-- {asked.marks}:{side} -->" for side in ("begin", "end"))
        page = asked.write.read_text(encoding="utf-8")
        head, rest = page.split(begin)
        asked.write.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
