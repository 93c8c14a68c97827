"""Arms over tiny pipelines in diffusers' format."""

from pathlib import Path

from fixtures import TINY
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.tiny_pipelines import TinyFamily, build_tiny

LATENTS, FRAMES = 7, 25
SETTINGS = (
    "objective.flow.output=velocity",
    f"data.world.frames={FRAMES}",
    f"evaluation.frames={LATENTS}",
    "model.lora.rank=2",
)


def real_config(family: TinyFamily, folder: Path, overrides: tuple[str, ...] = ()) -> ExperimentConfig:
    """The tiny experiment with a transformer and a VAE of diffusers, which are made on the first call."""
    pipeline = folder / family
    if not pipeline.is_dir():
        build_tiny(family, pipeline)
    path = folder / "tiny.yaml"
    path.write_text(TINY.format(folder=folder), encoding="utf-8")
    return load(path, [*SETTINGS, f"model.base={pipeline}", f"codec.source={pipeline}", *overrides])
