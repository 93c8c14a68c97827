"""Section of a report on measures without rollout: influence of levels, errors of single steps."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from fp_lab.lab.compare.comparison import Comparison
from fp_lab.lab.compare.without_rollout import level_influences, unread_note
from fp_lab.lab.report.document import Picture, pictures_html
from fp_lab.lab.report.plots.style import Look
from fp_lab.lab.report.plots.without_rollout import draw_influence, draw_step_errors
from fp_lab.lab.tables import to_html

TITLE = "Measures without rollout"


def without_rollout(comparison: Comparison, arms_looks: Mapping[str, Look], folder: Path) -> dict[str, str]:
    """Render the section with findings, pictures and tables, where runs have such measures."""
    pictures = without_rollout_pictures(comparison, arms_looks, folder)
    if not pictures:
        return {}
    said = "".join(f"<p>{escape(line)}</p>" for line in unread_note(level_influences(comparison.gathered)))
    keys = [key for key in ("influence", "step-errors") if key in comparison.makers]
    return {TITLE: said + pictures_html(pictures) + "".join(to_html(comparison.table(key)) for key in keys)}


def without_rollout_pictures(
    comparison: Comparison, arms_looks: Mapping[str, Look], folder: Path
) -> list[Picture]:
    """Draw influence and errors; none without such measures.

    Args:
        comparison: comparison of the arms.
        arms_looks: colours and markers by arm.
        folder: folder of the pictures.
    """
    gathered, pictures = comparison.gathered, []
    if found := level_influences(gathered):
        caption = (
            "Influence of each level of the context on one predicted section, from true history: 1 is what "
            "all levels together change when they come from another video. In grey its noise: the same level "
            "after one more round trip through the codec."
        )
        path = draw_influence(found, arms_looks, folder / "influence.png")
        pictures.append(Picture(path, "influence of the levels of each arm", caption))
    if len(gathered.without_rollout):
        caption = (
            "Mean squared error of each section: of one predicted velocity and of the sampled latents, both "
            f"from true history, and of sampled latents in the rollout; 95 % bands {gathered.basis.draws}."
        )
        path = draw_step_errors(gathered, arms_looks, folder / "step-errors.png")
        pictures.append(Picture(path, "errors of single steps against the section", caption))
    return pictures
