"""``fp-lab plan MODEL...``: memory and time of the real models, before a card is rented."""

import json as jsonlib
from typing import Annotated, Literal

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST, positive

Method = Literal["full", "lora"]
Sharding = Literal["ddp", "zero1", "zero2", "fsdp"]


def plan(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="hunyuan-video, wan-1.3b, wan-14b, wan-14b-i2v, or the paper's base, lite, extended.",
            show_default="base lite extended",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Ablation name of the packed section.", show_default="the model's own")
    ] = None,
    pixels: Annotated[str, typer.Option(help="Height x width.")] = "480x832",
    frames: Annotated[int, typer.Option(min=1, max=MOST, help="Latent frames of the full sequence.")] = 33,
    cards: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 8,
    memory_gb: Annotated[float, typer.Option(callback=positive, help="Memory of a card, GiB.")] = 80.0,
    tflops: Annotated[
        float, typer.Option(callback=positive, help="Dense bfloat16 peak of a card; 312 is an A100's.")
    ] = 312.0,
    utilisation: Annotated[
        float, typer.Option(max=1, callback=positive, help="Share of the peak that is reached.")
    ] = 0.4,
    method: Annotated[Method, typer.Option(help="What is trained.")] = "lora",
    rank: Annotated[int, typer.Option(min=1, max=MOST, help="Of LoRA.")] = 16,
    sharding: Annotated[Sharding, typer.Option(help="What is divided among the cards.")] = "fsdp",
    checkpointing: Annotated[bool, typer.Option(help="Do each block again in the backward pass.")] = True,
    samples: Annotated[int, typer.Option(min=1, max=MOST, help="That the hours are about.")] = 100_000,
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Of the solver that makes videos.")] = 25,
    guided: Annotated[
        bool | None,
        typer.Option(
            help="Classifier-free guidance: two calls a step.", show_default="as the model was released"
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
