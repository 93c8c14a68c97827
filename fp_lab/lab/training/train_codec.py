"""Training of the codec on frames of worlds and real clips."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning import seed_everything

from fp_data.atomic import replacing_files
from fp_data.clips import video_paths
from fp_data.crops import CropsConfig, FrameCrops
from fp_data.latents import to_pixels
from fp_data.worlds import VARIANTS, WorldConfig, render
from fp_lab.checks.ranges import MOST_SEED, THREADS, check_ranges
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.lab.config import TrainingConfig
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.fit_with_curve import fit_with_curve
from fp_lab.lab.training.model_record import write_record
from fp_lab.training.codec_system import CodecSystem, CodecTrainingConfig, fit_latent_statistics
from fp_lab.weights.files import file_sha256


@dataclass(frozen=True)
class CodecRunConfig:
    """Everything that `fp-lab codec train` depends on.

    Attributes:
        codec: architecture of the codec.
        training: settings of the optimisation.
        crops: crops of a batch.
        start: codec to start from; None: random weights.
        clips: folder of real clips, whose crops are mixed with renders of the world; None: the clips of
            `fp-lab data get clips`.
        statistics_batches: number of further batches, on which the latent statistics are fitted.
        checkpoint_every: steps between checkpoints to resume from.
        seed: seed of all randomness.
        threads: number of intra-op threads.
    """

    codec: CodecConfig = field(default_factory=CodecConfig)
    training: CodecTrainingConfig = field(default_factory=CodecTrainingConfig)
    crops: CropsConfig = field(default_factory=CropsConfig)
    start: str | None = None
    clips: str | None = None
    statistics_batches: int = 20
    checkpoint_every: int = 250
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        """Check that this can be trained."""
        counts = ("statistics_batches", "checkpoint_every")
        check_ranges("", self, **dict.fromkeys(counts, "[1, inf)"), threads=THREADS, seed=f"[0, {MOST_SEED}]")


def train_codec(
    config: CodecRunConfig, clips: Path, folder: Path, command: str, reporter: Reporter | None = None
) -> Codec:
    """Train a codec on renders of the worlds and crops of a folder of clips, and write it to `folder`.

    An interrupted training resumes from the folder's last checkpoint, to the same bits.

    Args:
        config: settings of the training.
        clips: folder of real clips.
        folder: output folder of codec, curve and provenance.
        command: command line of the user, for the provenance.
        reporter: receiver of progress.

    Raises:
        ValueError: another process writes into the folder.
    """
    torch.set_num_threads(config.threads)
    seed_everything(config.seed, verbose=False)
    files = video_paths(clips)
    crops = FrameCrops(config.crops, files if config.crops.real else [], config.seed)
    if config.training.decoder_only and config.start is None:
        raise ValueError("training.decoder_only keeps an encoder as it is, so it needs start=FOLDER")
    codec = (
        Codec(config.codec) if config.start is None else Codec.load(config.start).train().requires_grad_(True)
    )
    system = CodecSystem(codec, config.training, config.seed)
    system.to(memory_format=torch.channels_last)
    settings = TrainingConfig(config.training.steps, checkpoint_every=config.checkpoint_every)
    with only_writer(folder):
        fit_with_curve(system, crops, settings, folder, "codec/psnr", [], reporter or Reporter())
        codec.to(memory_format=torch.contiguous_format)
        codec.eval()
        if not config.training.decoder_only:
            held_out = FrameCrops(config.crops, files, config.seed + 1)
            batches = [held_out.batch(index)["frames"] for index in range(config.statistics_batches)]
            fit_latent_statistics(codec, torch.cat(batches))
        with replacing_files(folder) as unfinished:
            codec.save(unfinished)
        clips_sha256 = {path.name: file_sha256(path) for path in files}
        made = {"clips": clips_sha256, "measured": codec_fidelity(codec), "sha256": codec.sha256}
        write_record(folder, command, config, made)
    return codec


@torch.no_grad()
def codec_fidelity(codec: Codec) -> dict[str, dict[str, float]]:
    """PSNR in dB of the round trip of 24 held-out videos of each world, all over and inside the objects."""
    found: dict[str, dict[str, float]] = {}
    for variant in VARIANTS:
        world = render(WorldConfig(frames=8, variant=variant), range(24))
        pixels = to_pixels(world.frames)
        error = ((codec.decode(codec.encode(pixels)) - pixels) / 2).square()
        inside = error[world.masks.any(2)[:, None].expand_as(error)]
        found[variant] = {
            name: round(float(-10 * part.mean().log10()), 2)
            for name, part in (("psnr_db", error), ("psnr_inside_masks_db", inside))
        }
    return found
