"""What videos of real models take, as tables."""

from collections.abc import Sequence

from fp_lab.lab.capacity.generating import SECONDS
from fp_lab.lab.capacity.memory import GIB
from fp_lab.lab.capacity.plan import Plan
from fp_lab.lab.tables import Cell, Column, Line, Table

_PETA = 1e15


def generating_table(plans: Sequence[Plan]) -> Table:
    """Operations and time of videos that are made of packed sections."""
    hardware = plans[0].hardware
    columns = (
        Column("calls", "calls", "forward passes per section", digits=0),
        Column("section", "PFLOP", "per section", digits=2),
        Column("seconds", "seconds", "per section", digits=1),
        *(Column(f"minutes{length}", f"{length} s", "minutes", "lower", digits=1) for length in SECONDS),
    )
    lines = []
    for plan in plans:
        made = plan.generation
        figures = (made.calls, made.flops / _PETA, made.seconds, *made.minutes)
        sections = " and ".join(map(str, made.sections))
        lines.append(Line(plan.model.name, plan.model.title, sections, tuple(map(Cell, figures))))
    videos = " and ".join(f"{length} s" for length in SECONDS)
    rates = ", ".join(f"{plan.model.name} {plan.generation.fps}" for plan in plans)
    notes = (
        "Calls of the model, PFLOP and seconds per section with its whole context; decoding is not counted.",
        f"Last: minutes for videos of {videos}, which have so many sections, at frames per second: {rates}.",
        "Two calls a step are classifier-free guidance; HunyuanVideo's and FramePack's is distilled.",
    )
    title = f"Generating: {plans[0].generating.steps} steps on one card, {hardware.rate}"
    return Table("generating", title, columns, tuple(lines), notes, ("model", "sections"))


def modes_table(plans: Sequence[Plan]) -> Table:
    """Memory of one card while videos are made, by what is on it at once."""
    columns = (
        Column("together", "none", "GiB, all on the card", digits=1),
        Column("parts", "parts", "GiB, transformer and VAE in turns", digits=1),
        Column("blocks", "blocks", "GiB, two blocks at a time", digits=1),
    )

    def cells(plan: Plan) -> tuple[Cell, ...]:
        made = plan.generation
        return tuple(Cell(size / GIB) for size in (made.together, made.parts, made.blocks))

    lines = tuple(Line(plan.model.name, plan.model.title, plan.recipe, cells(plan)) for plan in plans)
    notes = (
        "GiB in bfloat16 while a section is made. None: transformer and VAE stay on the card; parts: they "
        "take turns; blocks: so do the transformer's blocks, two on the card at a time.",
        "Text encoders are gone by then; what the VAE needs beside its weights to decode is not counted.",
    )
    return Table(
        "modes", "Generating: memory by what is offloaded", columns, lines, notes, ("model", "recipe")
    )
