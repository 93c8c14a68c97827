"""Plans as tables and as plain containers for JSON."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fp_lab.lab.planning.generation import SECONDS
from fp_lab.lab.planning.memory import GIB, METHODS, SHARDED, USABLE, Training
from fp_lab.lab.planning.packed_model import Tokens
from fp_lab.lab.planning.plan import BRIEF_BATCH, BRIEF_HOURS, Plan
from fp_lab.lab.planning.trace import Trace
from fp_lab.lab.tables import Cell, Column, Line, Table

_PETA = 1e15
_COUNTS = 4  # more columns do not fit a terminal


def plan_tables(plans: Sequence[Plan]) -> tuple[Table, ...]:
    """Build tables of context, training, generation and ratios of all models, then batches for each.

    Args:
        plans: plans with the same hardware and training.
    """
    return (
        context_table(plans),
        time_table(plans),
        memory_table(plans),
        generating_table(plans),
        modes_table(plans),
        beside_table(plans),
        ratio_table(plans),
        *map(fit_table, plans),
    )


def context_table(plans: Sequence[Plan]) -> Table:
    """Tokens of each model's context, in closed form and padded, beside those of its section."""
    columns = (
        Column("closed_form", "closed form", "tokens, nothing padded", digits=1),
        Column("padded", "padded", "tokens", digits=0),
        Column("section", "section", "noisy tokens", digits=0),
    )
    lines = tuple(
        Line(
            plan.model.name,
            plan.model.title,
            plan.recipe,
            tuple(map(Cell, (plan.closed_form, plan.packed_tokens.context, plan.packed_tokens.noisy))),
        )
        for plan in plans
    )
    _, height, width = plans[0].latents
    notes = (
        "Closed form: frames times tokens per frame over the volume of the level's kernel.",
        "Padded: frames are filled up at the end until the kernel divides them; so the model sees them.",
    )
    title = f"Context of a full history, {height} x {width} latents"
    return Table("context", title, columns, lines, notes, ("model", "recipe"))


def time_table(plans: Sequence[Plan]) -> Table:
    """Operations of a packed section and a full sequence of each model, and hours of training."""
    hardware, training = plans[0].hardware, plans[0].training
    columns = (
        Column("tokens", "tokens", digits=0),
        Column("forward", "forward", "PFLOP", digits=2),
        Column("backward", "step", "PFLOP", digits=2),
        Column("again", "again", "PFLOP with checkpointing", digits=2),
        Column("hours", "hours", f"for {plans[0].samples:,} samples", digits=1),
    )
    again, once = replace(training, checkpointing=True), replace(training, checkpointing=False)

    def figures(plan: Plan, side: _Side) -> tuple[float, ...]:
        operations = (side.cost.flops, once.flops(side.cost), again.flops(side.cost))
        return (side.tokens.total, *(flops / _PETA for flops in operations), plan.hours(side.cost))

    notes = (
        "PFLOP: of a forward pass, of a step with its backward pass, and with every block done again "
        "(checkpointing).",
        f"Hours for {plans[0].samples:,} samples, cards at {hardware.rate}.",
    )
    title = f"Operations per sample, computed from fake tensors: {described(training)}, {_cards(plans[0])}"
    return Table("time", title, columns, _lines(plans, figures), notes, ("model", "sample"))


def memory_table(plans: Sequence[Plan]) -> Table:
    """Activations of packed section and full sequence, largest batch, and memory of inference."""
    training = plans[0].training
    columns = (
        Column("parameters", "size", "10^9 parameters", digits=2),
        Column("activations", "kept", "GiB", digits=1),
        Column("checkpointed", "again", "GiB with checkpointing", digits=2),
        Column("batch", "batch", f"largest on {plans[0].hardware.cards} cards", digits=0),
        Column("inference", "sampling", "GiB", digits=1),
    )

    def figures(plan: Plan, side: _Side) -> tuple[float, ...]:
        kept = (side.cost.activations / GIB, side.cost.checkpointed / GIB)
        return (side.cost.parameters / 1e9, *kept, side.batch, plan.inference_bytes(side.cost) / GIB)

    assumed = [f"{plan.model.name}: {plan.model.assumed}." for plan in plans if plan.model.assumed]
    notes = (
        "Size: 10^9 parameters. GiB of activations per sample in bfloat16: kept without checkpointing, and "
        "where blocks are done again.",
        "Sampling: GiB of weights, activations and latents; text encoders and VAE need not be there.",
        *assumed,
        *dict.fromkeys(f"Config: {plan.model.source}." for plan in plans),
    )
    title = f"Memory, computed from fake tensors: {described(training)}, {_cards(plans[0])}"
    return Table("memory", title, columns, _lines(plans, figures), notes, ("model", "sample"))


@dataclass(frozen=True)
class _Side:
    """Packed section or full sequence."""

    name: str
    tokens: Tokens
    cost: Trace
    batch: int


def _lines(plans: Sequence[Plan], figures: Callable[[Plan, _Side], Sequence[float]]) -> tuple[Line, ...]:
    return tuple(
        Line(plan.model.name, plan.model.title, side.name, tuple(map(Cell, figures(plan, side))))
        for plan in plans
        for side in (
            _Side("packed section", plan.packed_tokens, plan.packed, plan.chosen.packed),
            _Side(f"all {plan.latents[0]} frames", plan.full_tokens, plan.full, plan.chosen.full),
        )
    )


def beside_table(plans: Sequence[Plan]) -> Table:
    """Weights of encoders and VAE of each model, and disk space of all published files."""
    columns = (
        Column("text", "text", "encoders, GiB", digits=2),
        Column("image", "image", "encoder, GiB", digits=2),
        Column("vae", "VAE", "GiB", digits=2),
        Column("everything", "all", "with the transformer, GiB", digits=1),
        Column("disk", "disk", "10^9 bytes", digits=1),
    )

    def cells(plan: Plan) -> tuple[Cell, ...]:
        found = plan.beside
        held = (found.text, found.image, found.vae, found.total + 2 * plan.packed.parameters)
        return (*(Cell(size / GIB) for size in held), Cell(found.disk / 1e9))

    lines = tuple(
        Line(plan.model.name, plan.model.title, ", ".join(plan.beside.parts), cells(plan)) for plan in plans
    )
    notes = (
        "GiB of weights in bfloat16, all: with the transformer's. Captions are encoded before; the VAE works "
        "when sections are there.",
        "Disk: 10^9 bytes of all files. Wan's are published in float32 but for the image encoder; others are "
        "counted with 16 bits.",
    )
    return Table("beside", "Beside the transformer", columns, lines, notes, ("model", "parts"))


def ratio_table(plans: Sequence[Plan]) -> Table:
    """Savings by packing, beside those that the paper's project states."""
    columns = (
        Column("memory", "memory", "full over packed, per sample", "higher", digits=2),
        Column("batch", "batch", "packed over full, largest", "higher", digits=2),
        Column("time", "time", "full over packed, per sample", "higher", digits=2),
        Column("hours", "hours", f"that {BRIEF_HOURS[0]:.0f} h of full sequences become", "lower", digits=0),
    )
    lines = []
    for plan in plans:
        fit = plan.chosen
        batch = Cell(plan.batch_ratio, reason="no full sequence fits")
        figures = (plan.memory_ratio, plan.time_ratio, BRIEF_HOURS[0] / plan.time_ratio)
        memory, time, hours = map(Cell, figures)
        batches = f"{fit.full} to {fit.packed}"
        lines.append(Line(plan.model.name, plan.model.title, batches, (memory, batch, time, hours)))
    before, after = BRIEF_BATCH
    brief = (
        Cell(math.nan),
        Cell(after / before),
        Cell(BRIEF_HOURS[0] / BRIEF_HOURS[1]),
        Cell(BRIEF_HOURS[1]),
    )
    lines.append(Line("the paper's project", "", f"{before} to {after}", brief, "floor"))
    title = f"Packed sections against full sequences: {described(plans[0].training)}, {_cards(plans[0])}"
    notes = (
        "Full over packed: memory and time per sample, at equal utilisation; packed over full: the batch.",
        "A batch is of whole samples per card: memory says how near the next is.",
        "The paper's project: 13B at 480p on 8 cards of 80 GB.",
    )
    return Table("ratios", title, columns, tuple(lines), notes, ("model", "batches"))


def fit_table(plan: Plan) -> Table:
    """Largest batches on all cards, half of them and so on, for the ways of training that fit."""
    counts = _counts(plan)
    held = Column("state", "held", "GiB on each card", digits=1)
    columns = (held, *(Column(f"cards{n}", f"{n} card{'s' if n > 1 else ''}", digits=0) for n in counts))
    lines, unfit = [], dict[str, list[str]]()
    for training in _ways(plan):
        fits = [plan.fit(training, count) for count in counts]
        if not any(fit.packed for fit in fits):
            unfit.setdefault(_way(training), []).append(training.sharding)
            continue
        cells = (Cell(fit.packed, extra=f"/ {fit.full}") for fit in fits)
        lines.append(Line(_way(training), "", training.sharding, (Cell(fits[-1].state / GIB), *cells)))
    title = f"{plan.model.name}: largest batch, packed sections / full sequences, cards of {_memory(plan)}"
    notes = [
        f"{USABLE:.0%} of a card are planned with. Held: GiB of weights, gradients, AdamW and averages on "
        f"each of {counts[-1]} cards; samples come beside them.",
        *(f"No sample fits: {way} ({', '.join(shardings)})." for way, shardings in unfit.items()),
    ]
    heads = ("training", "shards")
    return Table(f"fits-{plan.model.name}", title, columns, tuple(lines), tuple(notes), heads)


def described(training: Training) -> str:
    """Describe a way of training in words."""
    return f"{_way(training)}, {training.sharding}"


def _way(training: Training) -> str:
    method = f"LoRA of rank {training.rank}" if training.method == "lora" else "full fine-tuning"
    return f"{method}, {'' if training.checkpointing else 'no '}checkpointing"


def _memory(plan: Plan) -> str:
    return f"{plan.hardware.memory_gb:g} GB"


def _ways(plan: Plan) -> list[Training]:
    """Every way of training with the plan's rank."""
    return [
        Training(method, sharding, checkpointing, plan.training.rank)
        for method, sharding, checkpointing in itertools.product(METHODS, SHARDED, (True, False))
    ]


def _counts(plan: Plan) -> list[int]:
    """Numbers of cards that a table has columns for: all of them, and powers of two below."""
    counts = [2**power for power in range(plan.hardware.cards.bit_length())]
    return [*(count for count in counts if count < plan.hardware.cards), plan.hardware.cards][-_COUNTS:]


def _cards(plan: Plan) -> str:
    return f"{plan.hardware.cards} cards of {_memory(plan)}"


def as_json(plan: Plan) -> dict[str, Any]:
    """Convert a plan to plain containers, bytes and operations unrounded."""
    derived = {
        "batch_ratio": plan.batch_ratio if math.isfinite(plan.batch_ratio) else None,
        "memory_ratio": plan.memory_ratio,
        "time_ratio": plan.time_ratio,
        "hours": {"packed": plan.hours(plan.packed), "full": plan.hours(plan.full)},
        "inference_bytes": {
            "packed": plan.inference_bytes(plan.packed),
            "full": plan.inference_bytes(plan.full),
        },
        "generation": asdict(plan.generation) | {"minutes": plan.generation.minutes},
        "chosen": asdict(plan.chosen),
        "fits": [asdict(plan.fit(way, cards)) for way in _ways(plan) for cards in _counts(plan)],
        "brief": {"batch": BRIEF_BATCH, "hours": BRIEF_HOURS},
    }
    return asdict(plan) | derived


def generating_table(plans: Sequence[Plan]) -> Table:
    """Operations and time of generating videos of packed sections."""
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
    """Memory of one card during generation, by offloading mode."""
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
