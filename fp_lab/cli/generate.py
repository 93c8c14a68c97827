"""``fp-lab generate``: videos from a picture, a text or a clip."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fp_lab.checks.ranges import check_once
from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST_LATENTS, MOST_SEED, positive
from fp_lab.cli.output_paths import file_to_write

if TYPE_CHECKING:
    from fp_lab.codecs.protocol import LatentCodec
    from fp_lab.lab.sampling.load_model import LoadedModel
    from fp_lab.lab.sampling.openings import Opening


def generate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as sampling.guidance=3."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Folder of a run (runs/<grid>/<arm>/seed<k>) or of a model, or a transformer in diffusers' "
            "format, folder or hub id.",
            show_default="the config's model.base",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Ablation name.", show_default="that of the run or the config")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Experiment file with settings, such as released/framepack.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to start from (image to video).")] = None,
    video: Annotated[Path | None, typer.Option(help="Clip to extend.")] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            "--caption",
            help="Text prompt, with motion; repeat for more scenes ('it rests' or '3s: it rests'), or for "
            "the endpoints of a planned recipe.",
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            max=MOST_SEED,
            help="Seed of the noise; repeat for more videos. Without picture, clip and prompt also the seed "
            "of a true first frame of the run's data.",
            show_default="0",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=positive,
            help="Length of the video, or of a clip's extension, at the frame rate evaluation.fps; rounded "
            "to whole sections of the recipe (g9 of a video VAE: 36 frames each).",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=MOST_LATENTS,
            help="Exact length in latent frames; warns where it is not whole sections.",
            show_default="whole sections, about 64",
        ),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(
            help="Height x width, such as 480x832.",
            show_default="that of the run's data, else of 480p, nearest in shape to the picture",
        ),
    ] = None,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Write the video so far to NAME.preview.mp4 after every section."),
    ] = False,
    offload: Annotated[
        Literal["none", "parts", "blocks"],
        typer.Option(
            help="Offloading to save device memory: transformer and VAE take turns (parts), or also the "
            "transformer's blocks (blocks)."
        ),
    ] = "none",
    out: Annotated[
        Path,
        typer.Option(
            callback=file_to_write, help="Output mp4 file; with several seeds, each is added to the name."
        ),
    ] = Path("generated.mp4"),
) -> None:
    """Generate videos section by section; interrupted, the same command continues.

    From a picture, a text or the end of a clip, by a trained run or a released model. For example:

      fp-lab generate --checkpoint runs/demo_drift/g9/seed0 --seed 3 --frames 100

      fp-lab generate --config released/framepack --image dog.png --prompt "it runs" --seconds 5

      fp-lab generate --checkpoint my/run --prompt "a dog runs" --prompt "3s: it rests" --seconds 60 --preview

      fp-lab generate --checkpoint my/run --video dog.mp4 --prompt "it runs" --seed 1 --seed 2 --offload parts

      fp-lab generate --checkpoint my/planned/run --image dog.png --prompt "it runs" --prompt "it rests"
    """
    if image is not None and video is not None:
        raise ValueError("got --image and --video, expected one of them: the clip has a first frame")
    if seconds is not None and frames is not None:
        raise ValueError("got --seconds and --frames, expected one of them")
    check_once("seed", [str(number) for number in seed or ()])
    from fp_lab.codecs.video import latent_frames, pixel_frames
    from fp_lab.lab.materials.models import codec_of
    from fp_lab.lab.runtime.progress import StageProgress
    from fp_lab.lab.runtime.quiet import quiet_loading
    from fp_lab.lab.sampling.generate import check_output, length_of
    from fp_lab.lab.sampling.generate import generate as made
    from fp_lab.lab.sampling.load_model import load_model
    from fp_lab.lab.sampling.openings import opening_from_seed
    from fp_lab.recipe.lengths import not_whole

    console, seeds = Console(), seed or [0]
    files = [out if len(seeds) == 1 else out.with_name(f"{out.stem}-{one}{out.suffix}") for one in seeds]
    inputs = [file for file in (image, video) if file is not None]
    files = [check_output(file, inputs) for file in files]
    loaded = load_model(checkpoint, recipe, config, overrides or [])
    if prompt and image is video is None and 0 not in (loaded.begins or (0,)):
        console.print(
            "No picture and no clip: text to video, which this model was not trained for "
            f"(objective.given={list(loaded.begins or ())}).",
            style="yellow",
            markup=False,
            highlight=False,
        )
    with quiet_loading():
        codec = codec_of(loaded.config.codec)
    shared = _opening(loaded, codec, image, video, prompt or [], pixels)
    section, fps = loaded.config.parsed_recipe.section, loaded.config.evaluation.fps
    for number, file in zip(seeds, files, strict=True):
        opening = shared or opening_from_seed(loaded.config, number)
        given = latent_frames(len(opening.frames), codec.temporal) if len(opening.frames) else 0
        length = length_of(loaded.config, codec, given, seconds, frames)
        if why := not_whole(section, length, given, codec.temporal):
            console.say(f"{why}.", "yellow")
        with StageProgress(console) as bars:
            sections = made(
                loaded.model,
                loaded.config,
                opening,
                length,
                number,
                file,
                codec=codec,
                preview=preview,
                offload=offload,
            )
            for index, progressed in enumerate(sections):
                if not index:
                    bars.begin("sections", progressed.sections)
                bars.advance(progressed.done)
        said = "; then ".join(filter(None, opening.captions)) or "no caption"
        shown = pixel_frames(length, codec.temporal)
        if video is not None:  # what is added; the clip has a length of its own
            shown -= pixel_frames(given, codec.temporal)
        count = -(-(length - given) // section)
        made_in = f"{count} section{'s' if count > 1 else ''} of {section} latent frames"
        lasts = f"{shown} frames, {shown / fps:.3g} s, in {made_in}"
        console.say(f"{file}: {said} ({lasts})")


def _opening(
    loaded: "LoadedModel",
    codec: "LatentCodec",
    image: Path | None,
    video: Path | None,
    prompts: list[str],
    pixels: str | None,
) -> "Opening | None":
    """Opening of all videos; None where each begins with the first frame of its seed."""
    from fp_data.clips import probe
    from fp_lab.lab.sampling import openings as openings

    config, script = loaded.config, openings.script_of(prompts)
    size = openings.size_of(pixels, loaded.sizes, image or video)
    if image is not None:
        return openings.opening_from_image(image, size, script)
    if video is not None:
        clip = probe(video)
        count = openings.frames_to_extend(clip, config, codec)
        return openings.opening_from_video(clip, size, script, frames=count, fps=config.evaluation.fps)
    return openings.opening_from_text(size, script) if prompts else None
