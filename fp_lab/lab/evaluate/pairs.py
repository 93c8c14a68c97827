"""Which video of one folder is compared with which of another: one to one, by what both know of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAMED = 8


@dataclass(frozen=True)
class Pairs:
    """Pairs of two sets of videos.

    Attributes:
        names: file of the first and of the second set.
        prompts: of each pair; where nobody knows it, the file of the first set.
        by_name: how many are paired by their name, the others by their prompt.
        alone: files of either set that have no pair.
    """

    names: tuple[tuple[str, str], ...]
    prompts: tuple[str, ...]
    by_name: int
    alone: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def in_words(self) -> str:
        """How many there are and what is left over, in words."""
        count, prompts = len(self.names), len(set(self.prompts))
        parts = [
            f"{count} pairs of {prompts} prompts, {self.by_name} by name, {count - self.by_name} by prompt"
        ]
        for whose, names in zip(("these", "the others"), self.alone, strict=True):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            if names:
                parts.append(f"without a pair among {whose}: {', '.join(names[:_NAMED])}{more}")
        return "; ".join(parts) + "."


def pair_videos(first: Mapping[str, Any], second: Mapping[str, Any]) -> Pairs:
    """Pair videos that have the same name and no other prompt; of the rest those of one prompt, in order.

    Equal names with different prompts are no pair. Videos of one prompt are paired only where both sets have
    as many of it left: they are averaged, so their order does not matter.

    Args:
        first: file -> its facts, ``prompt`` among them, empty where unknown.
        second: the same of the other set.
    """
    pairs = [(name, name) for name in first if name in second and _agree(first[name], second[name])]
    by_name, taken = len(pairs), {name for name, _ in pairs}
    left = [{name: facts for name, facts in side.items() if name not in taken} for side in (first, second)]
    ours, theirs = (_by_prompt(side) for side in left)
    for prompt, names in ours.items():
        if len(names) == len(theirs.get(prompt, ())):
            pairs += zip(names, theirs[prompt], strict=True)
    paired = [{pair[side] for pair in pairs} for side in (0, 1)]
    alone = [
        tuple(n for n in side if n not in known) for side, known in zip((first, second), paired, strict=True)
    ]
    prompts = tuple(first[one]["prompt"] or second[other]["prompt"] or one for one, other in pairs)
    return Pairs(tuple(pairs), prompts, by_name, (alone[0], alone[1]))


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return not one["prompt"] or not other["prompt"] or one["prompt"] == other["prompt"]


def _by_prompt(files: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, facts in sorted(files.items()):
        if facts["prompt"]:
            found.setdefault(facts["prompt"], []).append(name)
    return found


def match_paths(paths: Sequence[tuple[str, ...]], others: Sequence[tuple[str, ...]]) -> dict[int, int]:
    """Which path of one list is the same file as which of another, by the longest common end, one to one.

    A path has a match where no other on either side shares as many of its last parts.

    Args:
        paths: parts of each, the file's name last.
        others: the same.

    Returns:
        Place in the first list -> place in the second.
    """
    common = [[common_end(one, other) for other in others] for one in paths]
    forth = [_only_best(row) for row in common]
    back = [_only_best([row[place] for row in common]) for place in range(len(others))]
    return {one: other for one, other in enumerate(forth) if other is not None and back[other] == one}


def _only_best(shared: Sequence[int]) -> int | None:
    most = max(shared, default=0)
    return shared.index(most) if most and shared.count(most) == 1 else None


def common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths share, from the last one on."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
