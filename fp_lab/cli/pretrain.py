"""``fp-lab pretrain`` and ``fp-lab codec train``: training of the shipped models."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.invocation import typed_command
from fp_lab.cli.output_paths import folder_to_write

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as steps=200.")
]

codec_app = typer.Typer(no_args_is_help=True, help="Train the codec between pixels and latents.")


def pretrain(
    config: Annotated[
        str, typer.Argument(help="Settings file, or its name under experiments/.")
    ] = "pretrain/base",
    overrides: Overrides = None,
    to: Annotated[
        Path, typer.Option(callback=folder_to_write, help="Output folder of the model and its checkpoints.")
    ] = Path("runs/base"),
    runs: Annotated[
        Path,
        typer.Option(callback=folder_to_write, help="Folder of runs whose cache holds the encoded videos."),
    ] = Path("runs"),
) -> None:
    """Train the base that arms fine-tune from; interrupted, the same command continues.

    For example:

      fp-lab pretrain pretrain/base --to runs/base

      fp-lab pretrain pretrain/base steps=200 videos.plain=64 --to runs/quick-base
    """
    from fp_lab.lab.config import load_settings
    from fp_lab.lab.runtime.progress import StageProgress
    from fp_lab.lab.training.pretrain import PretrainConfig, pretrain_base, this_rank

    settings, console = load_settings(PretrainConfig, config, overrides or []), Console()
    with StageProgress(console) as progress:
        model = pretrain_base(settings, to, runs / "cache", typed_command(), progress)
    if this_rank() == 0:
        console.print(f"Base: {to}  (sha256 {model.sha256})", highlight=False, soft_wrap=True)


@codec_app.command("train")
def train(
    config: Annotated[
        str, typer.Argument(help="Settings file, or its name under experiments/.")
    ] = "pretrain/codec",
    overrides: Overrides = None,
    to: Annotated[Path, typer.Option(callback=folder_to_write, help="Output folder of the codec.")] = Path(
        "runs/codec"
    ),
) -> None:
    """Train a codec on the worlds and real clips (fetched when missing); interrupted, it continues.

    For example:

      fp-lab codec train pretrain/codec --to runs/codec

      fp-lab codec train pretrain/codec_decoder start=runs/codec --to runs/codec_decoder
    """
    from fp_carriers import cache_folder
    from fp_data.get_clips import get_clips
    from fp_lab.lab.config import load_settings
    from fp_lab.lab.provenance.base_origin import provenance_of
    from fp_lab.lab.runtime.progress import StageProgress
    from fp_lab.lab.training.train_codec import CodecRunConfig, train_codec

    settings = load_settings(CodecRunConfig, config, overrides or [])
    clips = Path(settings.clips) if settings.clips is not None else cache_folder() / "clips"
    if settings.clips is None and settings.crops.real:
        get_clips(clips, progress=typer.echo)
    console = Console(highlight=False, soft_wrap=True)
    with StageProgress(console) as progress:
        codec = train_codec(settings, clips, to, typed_command(), progress)
    console.print(f"Codec: {to}  (sha256 {codec.sha256})")
    for world, psnr in provenance_of(to)["measured"].items():
        console.print(f"  {world}: {psnr['psnr_db']} dB, inside objects {psnr['psnr_inside_masks_db']} dB")
