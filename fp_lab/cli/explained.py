"""Terminal output of `fp-lab explain`."""

from rich.table import Table
from rich.text import Text

from fp_lab.baselines import Baseline
from fp_lab.cli.console import Console
from fp_lab.explain import Explanation, picture, sparkline
from fp_lab.lab.tables import print_whole

_STYLES = {
    "generated": "bold green",
    "level": "cyan",
    "anchored": "magenta",
    "tail": "yellow",
    "dropped": "red",
}
_SHOWN = 12


def show(explanation: Explanation, made: Baseline | None, name: str) -> None:
    """Print levels, tokens, context length, order and plan.

    Args:
        explanation: explanation of a recipe.
        made: baseline with this recipe, if it is one.
        name: name of the baseline.
    """
    console = Console()
    if made is not None:
        console.print(_settings(name, made))
    console.print(_heading(explanation))
    if explanation.levels:
        print_whole(console, _levels(explanation))
        print_whole(console, _kernels(explanation))
    for caution in explanation.cautions:
        console.say(caution, "yellow")
    console.print(_context(explanation))
    console.print(_middle(explanation))
    if explanation.note:
        console.print(explanation.note)
    else:
        print_whole(console, _plan(explanation))


def _settings(name: str, made: Baseline) -> Text:
    settings = "".join(f"\n  {key}: {value}" for key, value in made.settings.items())
    return Text.assemble((name, "bold"), f", a baseline: {made.recipe}{settings}\n")


def _heading(explanation: Explanation) -> Text:
    fill = f", middle filled {explanation.fill}" if explanation.fill == "forward" else ""
    fill = ", middle bisected" if explanation.fill == "bisect" else fill
    codebook = f", history discretised to {explanation.codebook} centroids" if explanation.codebook else ""
    return Text.assemble(
        (explanation.name, "bold"),
        f"\n{explanation.order} order{fill}; {explanation.section} frames per section{codebook}\n",
        f"{explanation.height}x{explanation.width} latents: the noisy section has "
        f"{explanation.section_tokens:,} tokens",
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("frames", "tokens", "section", "known") else "left"
        )
    return table


def _levels(explanation: Explanation) -> Table:
    columns = ["level", "side", "takes", "kernel t,h,w", "frames", "tokens"]
    ill_fitting = any(str(row.fit) for row in explanation.levels)
    table = _table("Levels in video time", *columns, *(["fit"] if ill_fitting else []))
    for row in explanation.levels:
        kernel = ",".join(map(str, row.kernel))
        cells = (row.level, row.side, row.placement, kernel, f"{row.frames:,}", f"{row.tokens:,}")
        table.add_row(*cells, *([str(row.fit)] if ill_fitting else []))
    return table


def _kernels(explanation: Explanation) -> Table:
    table = _table("Tokens by kernel", "kernel", "rate", "frames", "tokens")
    for row in explanation.kernels:
        table.add_row(row.kernel, row.label, f"{row.frames:,}", f"{row.tokens:,}")
    table.add_row("g", "noisy", f"{explanation.section:,}", f"{explanation.section_tokens:,}")
    return table


def _context(explanation: Explanation) -> Text:
    lengths = explanation.context_lengths
    last = len(lengths)
    shown = sorted({1, 2, 4, 8, 16, 32, 64, last} & set(range(1, last + 1)))
    limit = explanation.context_limit
    return Text(
        "Context tokens by history frames: "
        + ", ".join(f"{n}: {lengths[n - 1]:,}" for n in shown)
        + f"\n{sparkline(lengths)} limit "
        + ("none, it grows with the video" if limit is None else f"{limit:,}")
    )


def _middle(explanation: Explanation) -> Text:
    section = f"section {explanation.middle_call}" if explanation.middle_call else "a section"
    text = Text(f"Frames 0..{explanation.middle[-1].last} in video time, as {section} sees them:\n")
    for strip in explanation.middle:
        text.append(picture([strip]), style=_STYLES.get(strip.kind, "dim"))
    kernels = "".join(f", {row.symbol} {row.kernel}" for row in explanation.kernels)
    text.append(f"\nG generated{kernels}, A anchored, t tail, - dropped, . not there yet", style="dim")
    return text


def _plan(explanation: Explanation) -> Table:
    plan = explanation.plan
    title = f"Plan of {len(plan)} sections for {explanation.frames} frames"
    table = _table(title, "section", "generates", "known", "tokens")
    for number, call in enumerate(plan, start=1):
        if len(plan) > _SHOWN and number == _SHOWN:
            table.add_row("...", "...", "...", "...")
        if len(plan) <= _SHOWN or number < _SHOWN or number == len(plan):
            targets = ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in call.targets)
            table.add_row(f"{number}", targets, f"{call.known:,}", f"{call.context_tokens:,}")
    return table
