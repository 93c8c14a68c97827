"""``fp-lab probe train``: training of the probe, which scores synthetic videos without ground truth."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.numbers import MOST, MOST_SEED
from fp_lab.cli.output_paths import folder_to_write

probe_app = typer.Typer(
    no_args_is_help=True, help="Train the probe, which scores videos of the synthetic world."
)


@probe_app.command("train")
def train(
    to: Annotated[
        Path,
        typer.Option(callback=folder_to_write, help="Output folder; an existing probe is replaced."),
    ] = Path("runs/probe"),
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Number of optimiser steps.", show_default="as shipped"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of all randomness.")] = 0,
) -> None:
    """Train the probe on renders with known damage and test it on held-out ones; about three minutes.

    For example:

      fp-lab probe train --to runs/probe

      fp-lab probe train --steps 40 --seed 1 --to runs/quick-probe
    """
    from fp_lab.lab.probe import ProbeRunConfig, train_probe
    from fp_lab.lab.runtime.progress import StageProgress

    usual = ProbeRunConfig(seed=seed)
    config = usual if steps is None else ProbeRunConfig(seed=seed, steps=steps)
    console = Console()
    with StageProgress(console) as bars:
        command = ["fp-lab", "probe", "train", "--to", str(to)]
        command += [] if steps is None else ["--steps", str(steps)]
        command += ["--seed", str(seed)] if seed else []
        trained = train_probe(config, to, shlex.join(command), reporter=bars)
    width = max(map(len, trained.held_out))
    for name, value in trained.held_out.items():
        console.print(f"{name:<{width}}  {value:g}", markup=False, highlight=False)
    console.say(f"Probe: {to}  (sha256 {trained.sha256})")
