"""Losses of 20 steps of every training path. To write some of them anew, which is a decision:

    PYTHONPATH=tests python tests/golden/curves.py tiny causal

Tiny models with random weights; one thread. A refactor leaves every bit of them alone. Each is stored with
the machine that it was computed on.
"""

import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from fixtures import tiny_config, tiny_experiment
from fp_data.crops import CropsConfig, FrameCrops
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.quiet import quiet_lightning
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.tiny_pipelines import TinyFamily
from fp_lab.training.codec_system import CodecSystem, CodecTrainingConfig
from real_arms import real_config

STORED = Path(__file__).with_name("curves.json")
STEPS = 20


def machine() -> dict[str, str]:
    """What the bits depend on beside the code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "processor": named[0] if named else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _losses(config: ExperimentConfig, folder: Path) -> list[float]:
    place = RunFolder(folder / "run")
    run(place.path, config, Materials(folder / "cache", Reporter()), Reporter(), stages=("train",))
    return [float(loss) for loss in pd.read_parquet(place.loss)["loss"]]


def _tiny(*overrides: str) -> Callable[[Path], list[float]]:
    def curve(folder: Path) -> list[float]:
        tiny_experiment(folder)
        return _losses(tiny_config(folder, [f"training.steps={STEPS}", *overrides]), folder)

    return curve


def _source(name: str, *settings: str) -> Callable[[Path], list[float]]:
    """Histories from a source with a state small enough that its oldest entries go."""
    own = [f"objective.history.{name}.{setting}" for setting in settings]
    return _tiny(f"objective.history.source={name}", *own)


def _lora(family: TinyFamily) -> Callable[[Path], list[float]]:
    def curve(folder: Path) -> list[float]:
        return _losses(real_config(family, folder, (f"training.steps={STEPS}",)), folder)

    return curve


def _codec(folder: Path) -> list[float]:
    """PSNR instead of a loss: it is what the codec's training logs."""
    torch.manual_seed(0)
    codec = Codec(CodecConfig(4, (4, 4, 8, 8), (0, 1, 1, 1), (0, 1, 1, 1)))
    values: list[float] = []

    class Keep(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
            values.append(float(trainer.callback_metrics["codec/psnr"]))

    crops = FrameCrops(CropsConfig(size=32, world=6, real=0), [], 0)
    loader = DataLoader(crops, batch_size=None)
    with quiet_lightning():
        trainer = Trainer(
            max_steps=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[Keep()],
        )  # fmt: skip
        trainer.fit(CodecSystem(codec, CodecTrainingConfig(steps=STEPS), 0), loader)
    return values


CURVES: dict[str, Callable[[Path], list[float]]] = {
    "tiny": _tiny(),
    "codebook": _tiny("recipe=td_f2k2f1k1_g3+D5"),
    "causal": _tiny("recipe=td_f4k1_g3", "context.attention=block_causal"),
    "augmented": _source("augmented"),
    "recycled": _source("recycled", "entries=2"),
    "resampled": _source("resampled", "steps=2"),
    "rollout": _source("rollout", "every=4", "videos=3"),
    "reversed": _source("reversed", "every=4", "videos=3"),
    "lora_wan": _lora("wan"),
    "lora_hunyuan_video": _lora("hunyuan_video"),
    "codec": _codec,
}


def computed(name: str, folder: Path) -> list[float]:
    """A curve, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return CURVES[name](folder)
    finally:
        torch.set_num_threads(threads)


def main(names: Sequence[str]) -> None:
    """Write some of them, and leave the others as they are."""
    stored = json.loads(STORED.read_text())
    for name in names:
        with TemporaryDirectory() as folder:
            stored[name] = {"machine": machine(), "losses": computed(name, Path(folder))}
    STORED.write_text(json.dumps({name: stored[name] for name in CURVES}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
