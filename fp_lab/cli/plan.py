"""``fp-lab plan MODEL...``: memory and time of the real models, before a card is rented."""

import json as jsonlib
from typing import Annotated, Literal

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST, MOST_CARDS, MOST_RANK, positive

Method = Literal["full", "lora"]
Sharding = Literal["ddp", "zero1", "zero2", "fsdp"]


def plan(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Models: hunyuan-video, wan-1.3b, wan-14b, wan-14b-i2v; the paper's base, lite, extended.",
            show_default="base lite extended",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Ablation name of the packed section.", show_default="the model's own")
    ] = None,
    pixels: Annotated[str, typer.Option(help="Size of the video, height x width in pixels.")] = "480x832",
    frames: Annotated[int, typer.Option(min=1, max=MOST, help="Latent frames of the full sequence.")] = 33,
    cards: Annotated[int, typer.Option(min=1, max=MOST_CARDS, help="Largest number of cards.")] = 8,
    memory_gb: Annotated[float, typer.Option(callback=positive, help="Memory of a card, GiB.")] = 80.0,
    tflops: Annotated[
        float,
        typer.Option(callback=positive, help="Peak of a card, dense bfloat16 TFLOP/s; 312 for an A100."),
    ] = 312.0,
    utilisation: Annotated[
        float, typer.Option(max=1, callback=positive, help="Reached share of the peak.")
    ] = 0.4,
    method: Annotated[Method, typer.Option(help="Trained weights: full model or LoRA.")] = "lora",
    rank: Annotated[int, typer.Option(min=1, max=MOST_RANK, help="Rank of LoRA.")] = 16,
    sharding: Annotated[
        Sharding, typer.Option(help="Way of dividing the training state among cards.")
    ] = "fsdp",
    checkpointing: Annotated[bool, typer.Option(help="Recompute each block in the backward pass.")] = True,
    samples: Annotated[
        int, typer.Option(min=1, max=MOST, help="Number of training samples behind the hours.")
    ] = 100_000,
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Number of solver steps for generation.")] = 25,
    guided: Annotated[
        bool | None,
        typer.Option(
            help="Classifier-free guidance, with two calls per step.",
            show_default="as the model was released",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Plan parameters, FLOPs, memory, batches, hours and generation of the real models, without loading them.

    A packed section is compared with full-sequence diffusion. For example:

      fp-lab plan base

      fp-lab plan base lite extended --method full --cards 8 --memory-gb 80

      fp-lab plan wan-1.3b --memory-gb 24 --cards 2 --tflops 165 --frames 21

      fp-lab plan hunyuan-video --recipe td_f16k4f2k2f1k1_g4 --no-checkpointing --json
    """
    console = Console()
    with Console(stderr=True).status("Tracing fake tensors (a few seconds per model)"):
        from fp_lab.lab.planning.generation import Generating
        from fp_lab.lab.planning.memory import Hardware, Training
        from fp_lab.lab.planning.plan import plan as make_plan
        from fp_lab.lab.planning.tables import as_json, plan_tables
        from fp_lab.lab.tables import print_table

        plans = [
            make_plan(
                name,
                recipe=recipe,
                pixels=pixels,
                frames=frames,
                hardware=Hardware(cards, memory_gb, tflops, utilisation),
                training=Training(method, sharding, checkpointing, rank),
                samples=samples,
                generating=Generating(steps, guided),
            )
            for name in models or ("base", "lite", "extended")
        ]
    if json:
        typer.echo(jsonlib.dumps([as_json(made) for made in plans], indent=2))
        return
    for table in plan_tables(plans):
        print_table(console, table)
