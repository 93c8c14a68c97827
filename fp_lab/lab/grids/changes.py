"""What the arms of a grid change, before any of them runs."""

from collections.abc import Collection, Mapping

from fp_lab.lab.first_batch.changes import MOST, Change, LookedAt, by_settings, changes_of, require_changes
from fp_lab.lab.grids.grid import Grid
from fp_lab.lab.results.setting_differences import shortened


def changes_in(grid: Grid, look: bool | None = None) -> tuple[Mapping[str, Change], list[str]]:
    """Return what arms change against the first one, by their names, and remarks on what was not looked at.

    Args:
        grid: grid with the arms; of several training seeds the first one is looked at.
        look: whether to look at batches; None: in a grid of up to `MOST` arms.
    """
    arms = {arm.name: LookedAt(arm.name, arm.config, arm.expect_same) for arm in reversed(grid.arms)}
    ordered = [arms[name] for name in dict.fromkeys(arm.name for arm in grid.arms)]
    if look is False or (look is None and len(ordered) > MOST):
        why = "--no-look" if look is False else f"{len(ordered):,} arms are more than {MOST}; --look does it"
        return by_settings(ordered), [f"changes: by settings alone, no batch was looked at: {why}"]
    changes = changes_of(ordered)
    reasons: dict[str, list[str]] = {}
    for name, change in changes.items():
        if change.unseen:
            reasons.setdefault(change.unseen, []).append(name)
    return changes, [
        f"changes: not looked at, so by settings alone: {why} ({shortened(names)})"
        for why, names in reasons.items()
    ]


def refuse_unchanged(grid: Grid, names: Collection[str], look: bool | None = None) -> list[str]:
    """Refuse arms with work to do that change nothing; return remarks on what was not looked at.

    Args:
        grid: grid with the arms.
        names: arms with work to do.
        look: as for `changes_in`.

    Raises:
        ValueError: an arm changes nothing, see `require_changes`.
    """
    changes, remarks = changes_in(grid, look)
    require_changes(changes, names)
    return remarks
