"""What scoring costs: python benchmarks/evaluation.py --family offline.

Four questions, each answered by both sides in one run:

* how many frames per second each estimator's observer makes, and decoding alone;
* whether all of them together cost more than the sum of each alone (target: at most 1.15);
* whether memory grows with the length of a video (target: 4,000 frames at most 1.1 times 200);
* what two workers of one thread gain over one on videos of equal length (target: at least 1.7).
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from fp_data.get_clips import get_clips
from fp_data.read_video import read_video, write_mp4
from fp_lab.lab.evaluate.find_videos import VideoFile
from fp_lab.lab.evaluate.score_file import Measuring, score_file
from fp_lab.lab.runtime.process_pool import Advance, pooled
from fp_metrics import About, choose, score_video
from fp_metrics.suite import CHUNK

PROMPT = "bikes and cars in a city street"


def clip_frames(count: int) -> list[np.ndarray]:
    """Frames of a real clip, 640x272, there and back again."""
    path = next(path for path in get_clips() if path.stem == "bikes")
    frames = list(read_video(path))
    turn = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return [frames[turn[i % len(turn)]] for i in range(count)]


def batches(frames: Sequence[np.ndarray]) -> Iterator[Tensor]:
    """As they are decoded: a chunk at a time."""
    for begin in range(0, len(frames), CHUNK):
        chunk = torch.from_numpy(np.stack(frames[begin : begin + CHUNK]))
        yield chunk.movedim(-1, 1).contiguous().to(torch.float32) / 255


def seconds(frames: Sequence[np.ndarray], family: str, metrics: Sequence[str]) -> float:
    """To score these frames, networks loaded before."""
    start = time.perf_counter()
    score_video(
        batches(frames), length=len(frames), families=(family,), metrics=metrics, about=About(25, PROMPT)
    )
    return time.perf_counter() - start


def estimators(family: str, count: int) -> None:
    """Each observer alone, then all together."""
    frames = clip_frames(count)
    kinds = choose((family,))
    shared: dict[type, list[str]] = {}
    for name, kind in kinds.items():
        if kind.unavailable():
            print(f"{name}: {kind.unavailable()}")
        else:
            shared.setdefault(kind.observer, []).append(name)
    usable = [name for names in shared.values() for name in names]
    for names in shared.values():
        seconds(frames[:16], family, names)  # load networks
    nothing = min(seconds(frames, family, []) for _ in range(3))
    alone = 0.0
    print(f"{count} frames of 640x272, {torch.get_num_threads()} thread(s)")
    for observer, names in shared.items():
        own = min(seconds(frames, family, names) for _ in range(2)) - nothing
        alone += own
        print(f"{observer.__name__:24} {count / max(own, 1e-9):8.1f} frames/s  {', '.join(names)}")
    print(f"{'conversion and flags':24} {count / nothing:8.1f} frames/s")
    together = seconds(frames, family, usable)
    print(f"all together {together:.1f} s, the sum of the scores' own {alone:.1f} s: {together / alone:.3f}")


def peak(
    path: str, family: str, metrics: tuple[str, ...] | None, answers: "multiprocessing.Queue[int]"
) -> None:
    """Most memory of a process that scores one file, KiB."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = VideoFile(Path(path), "video", "group", PROMPT)
        found = score_file(file, Measuring((family,), metrics), Path(folder), lambda more: None)
    assert not found.failure, found.failure
    answers.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def memory(family: str, metrics: tuple[str, ...] | None, short: int, long: int) -> None:
    """A short and a long video, each in a process of its own."""
    context, found = multiprocessing.get_context("spawn"), []
    with tempfile.TemporaryDirectory() as folder:
        for count in (short, long):
            path = Path(folder) / f"{count}.mp4"
            write_mp4(path, iter(clip_frames(count)), 25)
            answers: multiprocessing.Queue[int] = context.Queue()
            process = context.Process(target=peak, args=(str(path), family, metrics, answers))
            process.start()
            found.append(answers.get())
            process.join()
    print(
        f"peak memory: {short} frames {found[0] / 1024:.0f} MiB, {long} frames {found[1] / 1024:.0f} MiB: "
        f"{found[1] / found[0]:.3f}"
    )


def work(task: tuple[str, str, str], advance: Advance) -> float:
    """Score one file; an empty name only loads what is needed."""
    path, family, folder = task
    score_file(
        VideoFile(Path(path), Path(path).name, "g", PROMPT), Measuring((family,)), Path(folder), advance
    )
    return time.monotonic()


def workers(family: str, count: int) -> None:
    """8 videos by one and by two workers; counted from when all workers have scored a first one."""
    cv2.setNumThreads(1)
    taken = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(10):
            write_mp4(Path(folder) / f"{number}.mp4", clip_frames(count), 25)
        for processes in (1, 2):
            first = [(f"{folder}/{n}.mp4", family, f"{folder}/out{processes}") for n in range(processes)]
            rest = [(f"{folder}/{n}.mp4", family, f"{folder}/out{processes}") for n in range(2, 10)]
            ends = [end for _, end in pooled(work, [*first, *rest], workers=processes, preload=(__name__,))]
            taken[processes] = max(ends) - sorted(ends)[processes - 1]
    print(
        f"8 videos: 1 worker {taken[1]:.1f} s, 2 workers {taken[2]:.1f} s: "
        f"{taken[1] / taken[2]:.2f} times as fast"
    )


def main() -> None:
    """Ask the questions that were named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", default="offline")
    parser.add_argument("--frames", type=int, default=64, help="for the estimators and the workers")
    parser.add_argument("--lengths", type=int, nargs=2, default=(200, 4000))
    parser.add_argument("--metrics", help="for the memory: scores or estimators, separated by commas")
    parser.add_argument("--only", choices=("estimators", "memory", "workers"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if asked.only in (None, "estimators"):
        estimators(asked.family, asked.frames)
    if asked.only in (None, "workers"):
        workers(asked.family, asked.frames)
    if asked.only in (None, "memory"):
        memory(asked.family, asked.metrics and tuple(asked.metrics.split(",")), *asked.lengths)


if __name__ == "__main__":
    main()
