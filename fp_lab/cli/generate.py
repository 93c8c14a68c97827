"""``fp-lab generate``: one video from a trained arm."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as sampling.guidance=3."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a run: runs/<grid>/<arm>/seed<k>.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a model instead; needs --recipe.")] = None,
    recipe: Annotated[str | None, typer.Option(help="The recipe that the model was trained for.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to begin with.")] = None,
    caption: Annotated[
        list[str] | None,
        typer.Option(
            "--caption",
            "--prompt",
            help="What is to be seen and how it moves; once per endpoint of a planned recipe.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise and, without a picture, of the first frame.")] = 0,
    frames: Annotated[int, typer.Option(min=2, help="Length of the video, latent frames.")] = 64,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Length instead, at evaluation.fps frames per second.")
    ] = None,
    pixels: Annotated[
        str | None, typer.Option(help="Height x width for a picture, such as 480x832; default: data.size.")
    ] = None,
    preview: Annotated[
        bool, typer.Option(help="Write what there is after every section to NAME.preview.mp4.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The mp4 file to write.")] = Path("generated.mp4"),
) -> None:
    """Generate a video, section by section.

    For example:

      fp-lab generate --run runs/demo/g9/seed0 --seed 3 --frames 100

      fp-lab generate --model my/model --recipe td_f16k4f2k2f1k1_g9 --image dog.png --caption "a dog runs"

      fp-lab generate --run my/run --image dog.png --prompt "it runs" --seconds 5 --pixels 480x832 --preview

      fp-lab generate --run runs/planned/f1k1_g9_x_f1k1_x_f1k1/seed0 --caption "it runs" --caption "it rests"
    """
    if (run is None) == (model is None) or (model is None) != (recipe is None):
        raise ValueError("give --run FOLDER, or --model FOLDER with --recipe NAME")
    from fp_lab.lab import generate as making
    from fp_lab.lab.build import codec_of
    from fp_lab.lab.stages import RunFolder
    from fp_lab.model import FramePackModel

    if run is not None:
        config = making.config_of_run(run, overrides or [])
        loaded = FramePackModel.load(RunFolder(run).model)
    else:
        assert model is not None
        assert recipe is not None
        loaded = FramePackModel.load(model)
        config = making.config_of_model(loaded, recipe, overrides or [])
    if image is not None:
        size = making.size_of(pixels, config)
        opening = making.opening_from_image(image, size, caption or ())
    else:
        opening = making.opening_from_seed(config, seed)
        opening = making.Opening(opening.frame, tuple(caption)) if caption else opening
    codec = codec_of(config.codec)
    length = frames if seconds is None else making.latent_count(config, codec, seconds)
    for progressed in making.generate(
        loaded, config, opening, length, seed, out, codec=codec, preview=preview
    ):
        typer.echo(f"section {progressed.done} of {progressed.sections}")
    typer.echo(f"{out}: {'; then '.join(filter(None, opening.captions)) or 'no caption'}")
