"""``fp-lab encode FOLDER OUT``: encoding of a folder of videos into a cache of latents and conditions."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST

if TYPE_CHECKING:
    from fp_lab.lab.encoding.encode import Encoded

Dtype = Literal["float16", "bfloat16", "float32"]


def encode(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of videos with captions beside them.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the cache.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub id of a pipeline in diffusers' format: HunyuanVideo, FramePack or Wan.",
            show_default="required, except with --check",
        ),
    ] = None,
    image_encoder: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub id of the image encoder.", show_default="the model's, if it has one"
        ),
    ] = None,
    frames: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST,
            help="Frames per clip: 1 + 4n, for 1 + n latent; 1 + 36n (37, 73, 145) for whole g9 sections.",
        ),
    ] = 73,
    stride: Annotated[int, typer.Option(min=1, max=MOST, help="Step between frames of a file.")] = 1,
    area: Annotated[str, typer.Option(help="Largest area of a clip, height x width.")] = "480x832",
    unit: Annotated[int, typer.Option(min=1, max=MOST, help="Divisor of height and width, pixels.")] = 32,
    dtype: Annotated[Dtype, typer.Option(help="Data type of the networks and the cache.")] = "bfloat16",
    per_shard: Annotated[int, typer.Option(min=1, max=MOST, help="Number of clips per shard.")] = 64,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = "auto",
    tiling: Annotated[bool, typer.Option("--tiling", help="Encode in tiles, for less memory.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the cache; name and set aside damaged shards.")
    ] = False,
) -> None:
    """Encode videos into shards of latents and of embeddings of their captions and first frames.

    Interrupted, the same command continues. Bad videos are named and skipped. For example:

      fp-lab encode my_videos cache --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --frames 145

      fp-lab encode my_videos cache --model models/HunyuanVideo --image-encoder lllyasviel/flux_redux_bfl

      fp-lab encode my_videos cache --model models/HunyuanVideo --stride 2 --area 320x512 --tiling

      fp-lab encode my_videos cache --check
    """
    console = Console()
    if check:
        _check(out, console)
        return
    if model is None:
        raise ValueError("give --model FOLDER or HUB_ID: the pipeline whose VAE and encoders are used")
    from fp_data.buckets import BucketsConfig
    from fp_lab.lab.encoding.encode import EncodeConfig, encode_folder
    from fp_lab.lab.encoding.windows import Cutting
    from fp_lab.lab.files.output_paths import check_folder
    from fp_lab.lab.runtime.progress import StageProgress
    from fp_lab.lab.runtime.quiet import quiet_loading

    check_folder("OUT", out)
    cutting = Cutting(frames, stride, BucketsConfig(_pixels(area), unit))
    config = EncodeConfig(model, image_encoder, cutting, dtype, per_shard, device, tiling)
    with quiet_loading(), StageProgress(console) as bars:
        made = encode_folder(folder, out, config, bars)
    _tell(made, out, console)


def _check(out: Path, console: Console) -> None:
    from fp_data.shard_manifest import Manifest
    from fp_lab.lab.encoding.encode import check_cache, window_caution
    from fp_lab.lab.encoding.windows import CLIPS, ClipPlan

    with console.status("Reading the cache") as status:
        faults = check_cache(out, lambda file: status.update(f"Reading {file}"))
    for fault in faults:
        console.say(str(fault), "red")
    if faults:
        raise typer.Exit(1)
    held, frames = Manifest.load(out), ClipPlan.load(out / CLIPS).cutting.frames
    _say(console, f"{out} is whole: {held.samples} clips in {len(held.shards)} shards.")
    latents = max(latents for latents, _, _ in held.shapes)
    if caution := window_caution(frames, max(1, (frames - 1) // max(1, latents - 1))):
        _say(console, caution, "yellow")


def _tell(made: "Encoded", out: Path, console: Console) -> None:
    """Print what was left out and why, the content of the cache, and the time."""
    from collections import Counter

    from fp_metrics.weights import in_words

    for skip in made.plan.skipped + made.plan.unread:
        _say(console, f"skipped {skip.path}: {skip.reason}", "yellow")
    for name in made.new[:10]:
        _say(console, f"new since the cache was begun, and not in it: {name}", "yellow")
    for name in made.changed[:10]:
        _say(console, f"changed since the cache was begun, which holds it as it was: {name}", "yellow")
    shards, moments = made.manifest.shards, made.manifest.moments
    assert moments is not None, "a complete cache is not empty"
    clips: Counter[str] = Counter()
    for shard in shards:
        clips[f"{shard.bucket}, latents {'x'.join(map(str, shard.shape))}"] += len(shard.indices)
    for size, count in sorted(clips.items()):
        _say(console, f"{count:6} clips of {made.plan.cutting.frames} frames of {size}")
    _say(
        console,
        f"Latents, which should have mean 0 and deviation 1: mean {_range(moments.mean)}, "
        f"deviation {_range(moments.std)}",
    )
    stored = in_words(sum(shard.size for shard in shards))
    took = f"{made.clips} encoded now" + (f", {made.seconds / made.clips:.3g} s each" if made.clips else "")
    seen = len(made.plan.videos) + len(made.plan.skipped)
    left = f"skipped: {len(made.plan.skipped)} of {seen} videos, {len(made.plan.unread)} clips"
    left += f", {len(made.new)} new videos not in it" if made.new else ""
    left += f", {len(made.changed)} changed since" if made.changed else ""
    _say(
        console,
        f"Written: {out}: {made.manifest.samples} clips in {len(shards)} shards, {stored} ({took}; {left})",
    )


def _range(values: tuple[float, ...]) -> str:
    return f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f} over channels)"


def _pixels(area: str) -> int:
    sides = re.fullmatch(r"(\d+)x(\d+)", area)
    if not sides:
        raise ValueError(f"area: got {area!r}, expected height x width, such as 480x832")
    return int(sides[1]) * int(sides[2])


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.say(line, style=style)
