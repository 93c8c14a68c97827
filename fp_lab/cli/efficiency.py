"""``fp-lab efficiency [GRID or NAMES...]``: measured costs of arms on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST, positive
from fp_lab.cli.output_paths import folder_to_write


def efficiency(
    arms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[GRID or NAMES]... [KEY=VALUE]...",
            help="Grids such as demo, ablation names or baselines; settings of all arms.",
            show_default="the recipe of experiments/base.yaml",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=MOST, help="Number of rounds of measurement; medians are reported.")
    ] = 3,
    memory_gb: Annotated[
        float, typer.Option(callback=positive, help="Memory budget of the largest batch, GiB.")
    ] = 1.0,
    out: Annotated[
        Path | None, typer.Option(callback=folder_to_write, help="Output folder of JSON, CSV and Markdown.")
    ] = None,
) -> None:
    """Measure step time, share of the matmul peak, memory, and sampling speed of arms on this machine.

    Packed arms are compared with the full history and with full-sequence diffusion. For example:

      fp-lab efficiency

      fp-lab efficiency demo/drift training.batch=4 --out efficiency/

      fp-lab efficiency td_f8k8f4k4f2k2f1k1_g9 sliding_window --memory-gb 8

      fp-lab efficiency training.accelerator=gpu training.precision=bf16-mixed
    """
    console = Console()
    with console.status("Starting (importing torch takes a while)"):
        from fp_lab.lab.efficiency.measure import measure
        from fp_lab.lab.efficiency.tables import efficiency_tables, write_efficiency
        from fp_lab.lab.grids.efficiency_arms import sides_of
        from fp_lab.lab.materials.models import codec_of
        from fp_lab.lab.runtime.progress import StageProgress
        from fp_lab.lab.tables import print_table

        names = [text for text in arms or [] if "=" not in text]
        sides = sides_of(names, [text for text in arms or [] if "=" in text])
        codec = codec_of(sides[0].config.codec)
    with StageProgress(console) as bars:
        measured = measure(sides, codec, rounds=rounds, memory_gb=memory_gb, reporter=bars)
    for table in efficiency_tables(measured):
        print_table(console, table)
    if out is not None:
        write_efficiency(measured, out)
        console.say(f"Written: {out}")
