r"""NIQE and BRISQUE beside the published codes, in turns on one picture: python benchmarks/clarity.py.

The references run in environments of their own, which --reference-python names. With Python 3.11:

    python -m venv opencv
    opencv/bin/pip install numpy==1.23.5 opencv-contrib-python-headless==4.10.0.84
    python -m venv pyiqa
    pyiqa/bin/pip install pyiqa==0.1.16

Targets: both no slower than the references and equal to them. Times are processor time per frame (a machine
may be busy with other things), medians over all turns.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.data import astronaut
from torch import Tensor

from fp_metrics.estimator import Estimator
from fp_metrics.families.offline.clarity import (
    NIQE_ARTIFACT,
    NIQE_LEAST_SIDE,
    BrisqueClarity,
    NiqeClarity,
    load_brisque,
    load_niqe,
)
from fp_metrics.functional.brisque import brisque_features, brisque_score
from fp_metrics.functional.natural_scene import grey_levels
from fp_metrics.functional.niqe import niqe
from fp_metrics.weights import weights_path

REFERENCE = """
import json, sys, time
from importlib.util import find_spec
import cv2, numpy as np

picture, repeats, threads = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
works = {}
if hasattr(cv2, "quality"):
    cv2.setNumThreads(threads)
    works["brisque"] = lambda: cv2.quality.QualityBRISQUE_computeFeatures(picture).ravel().tolist()
if find_spec("pyiqa"):
    import torch
    from pyiqa.archs.niqe_arch import calculate_niqe

    torch.set_num_threads(threads)
    grey = torch.from_numpy(picture)[None, None] / 255
    with np.load(sys.argv[4], allow_pickle=False) as found:
        model = {name: torch.from_numpy(found[name]) for name in ("mu_pris_param", "cov_pris_param")}
    works["niqe"] = lambda: float(calculate_niqe(grey, **model))
answer = {}
for name, work in works.items():
    value, times = work(), []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    answer[name] = {"value": value, "times": times}
print(json.dumps(answer))
"""


@dataclass
class Timed:
    """What some work returned, and the processor seconds of each of its runs."""

    value: Any
    times: list[float]

    @property
    def ms(self) -> float:
        """Median in milliseconds."""
        return 1000 * median(self.times)


def timed(work: Callable[[], Any], repeats: int) -> Timed:
    """Run it once to warm up, then so many times."""
    value, times = work(), []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return Timed(value, times)


def reference(python: str, levels: Tensor, repeats: int, threads: int) -> dict[str, Timed]:
    """OpenCV's features and pyiqa's NIQE of one picture ``(1, h, w)``, as far as they are installed there."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.npy"
        np.save(picture, levels[0].to(torch.uint8).numpy())
        command = [python, "-W", "ignore", "-c", REFERENCE, str(picture), str(repeats), str(threads)]
        command += [str(weights_path(NIQE_ARTIFACT))]
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        done = subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=True)
    return {name: Timed(**answer) for name, answer in json.loads(done.stdout.splitlines()[-1]).items()}


def ours(levels: Tensor, repeats: int) -> dict[str, Timed]:
    """The same by fp_metrics."""
    model = load_niqe(levels.device)
    return {
        "brisque": timed(lambda: brisque_features(levels)[0].tolist(), repeats),
        "niqe": timed(lambda: float(niqe(levels, model)), repeats),
    }


def merged(turns: list[dict[str, Timed]]) -> dict[str, Timed]:
    """The times of all turns together; nothing for no turns."""
    return {
        name: Timed(one.value, [seconds for turn in turns for seconds in turn[name].times])
        for name, one in (turns[0] if turns else {}).items()
    }


def photograph(height: int, width: int) -> Tensor:
    """A natural picture of a size, ``(1, 3, h, w)`` in [0, 1], 8 bits deep."""
    whole = torch.from_numpy(astronaut()).movedim(-1, 0)[None].float()
    sized = F.interpolate(whole, size=(height, width), mode="bicubic", antialias=True)
    return sized.clamp(0, 255).round() / 255


def chunk_taken(kind: type[Estimator], frames: Tensor) -> None:
    """An estimator takes a chunk, as `fp_metrics.score_video` gives them."""
    kind().update(frames)


def report(mine: dict[str, Timed], theirs: dict[str, Timed]) -> None:
    """Print times, ratios and differences."""
    names = {"brisque": "BRISQUE's features, OpenCV", "niqe": "NIQE, pyiqa"}
    for name, label in names.items():
        line = f"{label:<28} ours {mine[name].ms:7.2f} ms"
        if name in theirs:
            apart = np.abs(np.subtract(mine[name].value, theirs[name].value)).max()
            ratio = mine[name].ms / theirs[name].ms
            line += f", theirs {theirs[name].ms:7.2f} ms, ratio {ratio:.2f}; largest difference {apart:.1e}"
        print(line)
    if "brisque" in theirs:
        regression = load_brisque(torch.device("cpu"))
        scores = [
            float(brisque_score(torch.tensor([found["brisque"].value], dtype=torch.float64), regression))
            for found in (mine, theirs)
        ]
        print(f"BRISQUE's score              ours {scores[0]:.4f}, of OpenCV's features {scores[1]:.4f}")


def main() -> None:
    """Print one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and of the references")
    parser.add_argument("--width", type=int, default=640, help="of the picture")
    parser.add_argument("--height", type=int, default=272, help="of the picture")
    parser.add_argument("--repeats", type=int, default=20, help="of each measurement in a turn")
    parser.add_argument("--turns", type=int, default=3, help="references and ours, one after the other")
    parser.add_argument(
        "--reference-python",
        action="append",
        default=[],
        help="interpreter with opencv-contrib or pyiqa; repeat",
    )
    arguments = parser.parse_args()
    if min(arguments.width, arguments.height) < NIQE_LEAST_SIDE:
        parser.error(f"NIQE needs at least {NIQE_LEAST_SIDE} pixels a side")
    torch.set_num_threads(arguments.threads)
    frame = photograph(arguments.height, arguments.width)
    levels = grey_levels(frame)
    mine, theirs = [], []
    for _ in range(arguments.turns):
        found: dict[str, Timed] = {}
        for python in arguments.reference_python:
            found |= reference(python, levels, arguments.repeats, arguments.threads)
        theirs.append(found)
        mine.append(ours(levels, arguments.repeats))
    print(f"{arguments.width}x{arguments.height}, {arguments.threads} threads")
    report(merged(mine), merged(theirs))
    for kind in (NiqeClarity, BrisqueClarity):
        taken = timed(partial(chunk_taken, kind, frame.expand(8, -1, -1, -1)), 5)
        print(f"{kind.name:<28} {taken.ms / 8:7.2f} ms a frame, in chunks of 8")


if __name__ == "__main__":
    main()
