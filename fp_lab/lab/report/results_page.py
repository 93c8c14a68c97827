"""Page of a grid's results in Markdown, from their file: plots, tables, claims, provenance."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fp_data.atomic import replacing
from fp_lab.lab.claims import Checked, Evidence, check_on, counted
from fp_lab.lab.compare.comparison import Comparison, compare
from fp_lab.lab.compare.forgetting import gather_forgetting
from fp_lab.lab.compare.results_file import StoredResults, load_results, store_results
from fp_lab.lab.compare.without_rollout import level_influences, unread_note
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.report.claims_page import CAVEAT
from fp_lab.lab.report.document import Picture
from fp_lab.lab.report.plots.order_curves import draw_orders
from fp_lab.lab.report.plots.style import looks
from fp_lab.lab.report.trade_offs import forgetting_pictures
from fp_lab.lab.report.without_rollout_section import TITLE, without_rollout_pictures
from fp_lab.lab.results.gather import gather
from fp_lab.lab.tables import to_markdown
from fp_lab.lab.tables.glossary import HISTORIES_IN_FULL

_MOST = 3  # texts of one kind that are listed


def write_results(source: Path, folder: Path) -> Path:
    """Write ``<name>.parquet``, ``<name>.md`` and pictures in ``<name>/``.

    Args:
        source: folder of a grid, or its results file of an earlier call, which gives the same page.
        folder: output folder.

    Returns:
        Path of the page.

    Raises:
        ValueError: scores are missing, damaged or incomplete, or the file is of another kind.
    """
    name = source.resolve().with_suffix("").name if source.is_file() else source.resolve().name
    stored = folder / f"{name}.parquet"
    if not source.is_file():
        gathered = gather([source])
        if gathered.left_out:
            raise ValueError(gathered.left_out[0])
        if gathered.waiting:
            listed = ", ".join(str(run) for run in gathered.waiting[:_MOST])
            raise ValueError(
                f"{len(gathered.waiting)} runs of {source} have no scores yet ({listed}), expected all; run "
                "the grid to its end, or name a grid that is"
            )
        store_results(gathered, stored)
    elif source.resolve() != stored.resolve():
        load_results(source)  # before anything of that name is replaced
        with replacing(stored) as unfinished:
            shutil.copyfile(source, unfinished)
    results = load_results(stored)
    page = folder / f"{name}.md"
    write_text(page, _page(name, results, folder))
    return page


def _page(name: str, results: StoredResults, folder: Path) -> str:
    comparison = compare(results)
    checked = check_on(comparison)
    parts = [f"# {name}\n", *(f"{said}\n" for said in (*results.cautions, comparison.verdict.text))]
    parts += [_told(results), *_sections(comparison, results, folder, name), _claims(comparison, checked)]
    return "\n".join([*parts, _made(name, results)])


def _sections(comparison: Comparison, results: StoredResults, folder: Path, name: str) -> Iterator[str]:
    arms_looks, pictures = looks(results.arms), folder / name
    found = gather_forgetting(results)
    family = results.families[0]
    if found:
        yield "## What comes back\n"
        yield from _shown(forgetting_pictures(comparison, found, arms_looks, pictures), name)
        yield to_markdown(comparison.table("forgetting"))
    if len(results.without_rollout):
        yield f"## {TITLE}\n"
        yield from (f"{line}\n" for line in unread_note(level_influences(results)))
        yield from _shown(without_rollout_pictures(comparison, arms_looks, pictures), name)
        keys = [key for key in ("influence", "step-errors") if key in comparison.makers]
        yield from (to_markdown(comparison.table(key)) for key in keys)
    yield "## Drift and scores\n"
    caption = (
        f"Change of each score since the first twelfth of the video, {HISTORIES_IN_FULL['own']}, mean over "
        f"an order's arms, 95 % bands {results.basis.draws}."
    )
    drawn = draw_orders(results, pictures / "orders.png")
    yield from _shown([Picture(drawn, "change of scores over the video, order by order", caption)], name)
    papers = [key for key in comparison.makers if key.startswith("paper-")]
    yield from (to_markdown(comparison.table(key)) for key in (f"drift-{family}", f"score-{family}", *papers))


def _shown(pictures: Sequence[Picture], name: str) -> Iterator[str]:
    for picture in pictures:
        yield f"![{picture.alt}]({name}/{picture.path.name})\n\n{picture.caption}\n"


def _told(results: StoredResults) -> str:
    """Remarks on the runs for readers."""
    about, protocol = results.about, results.protocol
    prompts = results.videos["prompt"].nunique()
    seeds = ", ".join(str(seed) for seed in sorted({seed for arm in results.arms for seed in arm.seeds}))
    entries = {
        "date": about["date"],
        "commit": _texts(about.get("commit", {})),
        "machine": _texts(about.get("machine", {})),
        "minutes": f"{_minutes(about['minutes'])}, all stages of all runs added up",
        "training seeds": seeds,
        "prompts": f"{prompts}, {protocol['videos']} videos of {protocol['frames']} frames, "
        f"{protocol['width']}x{protocol['height']} pixels, {protocol['fps']:g} frames/s",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {text} |" for key, text in entries.items()), ""])


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f}" if minutes >= 10 else f"{minutes:.2g}"


def _claims(comparison: Comparison, checked: Sequence[Checked]) -> str:
    measured = [one for one in checked if one.outcome.status != "not measured"]
    rows = [
        f"| `{one.claim.id}` | {one.claim.text} | **{one.outcome.status}** | {_cell(one.outcome.evidence)} |"
        for one in measured
    ]
    scope = f"{counted(checked)}; {Evidence(comparison).scope}. {CAVEAT}\n"
    heads = ["| claim | what is claimed | verdict | evidence |", "|---|---|---|---|"]
    return "\n".join(["## Claims\n", scope, *((*heads, *rows, "") if rows else ())])


def _made(name: str, results: StoredResults) -> str:
    """Commands and other provenance of the results."""
    about = results.about
    own = {key: digest for key, digest in about["weights"].items() if "/seed" not in key}
    weights = ", ".join(f"{key} `{digest}`" for key, digest in own.items())
    arms = [
        f"| {arm.label} | `{arm.name}` | {_tokens(arm.context_tokens)} | {', '.join(map(str, arm.seeds))} |"
        for arm in results.arms
    ]
    return "\n".join(
        [
            "## How to make it again\n",
            f"```\n{about['command']}\nfp-lab results {name}.parquet   # this page, without any run\n```\n",
            f"Values of every video, and the sha256 of every trained model, are in [{name}.parquet]"
            f"({name}.parquet), float32. Segments: {results.protocol['segments']}.\n",
            *([f"Weights: {weights}.\n"] if weights else []),
            *([f"Versions: {_texts(about['versions'])}.\n"] if "versions" in about else []),
            "| arm | recipe | context tokens | training seeds |",
            "|---|---|--:|---|",
            *arms,
            "",
        ]
    )


def _tokens(limit: int | None) -> str:
    return "without bound" if limit is None else f"{limit:,}"


def _texts(found: Mapping[str, int]) -> str:
    """Join texts of stages; several ones with their numbers of stages."""
    if len(found) <= 1:
        return next(iter(found), "not recorded")
    often = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    more = f" and {len(often) - _MOST} more" if len(often) > _MOST else ""
    return "; ".join(f"{text} ({count} stages)" for text, count in often[:_MOST]) + more


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
