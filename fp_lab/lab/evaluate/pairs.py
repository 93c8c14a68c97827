"""Pairing of videos of two folders: one to one, by name and prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAMED = 8


@dataclass(frozen=True)
class Pairs:
    """Pairs of two sets of videos.

    Attributes:
        names: files of the first and of the second set.
        prompts: prompt of each pair; the file of the first set where unknown.
        by_name: number of pairs by name; the others are paired by prompt.
        alone: files of either set without a pair.
    """

    names: tuple[tuple[str, str], ...]
    prompts: tuple[str, ...]
    by_name: int
    alone: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def in_words(self) -> str:
        """Describe the number of pairs and unpaired files."""
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
    """Pair videos of the same name and no differing prompt; then the rest by prompt, in order.

    Files with equal names and different prompts are no pair. Videos of one prompt are paired only where both
    sets have equally many left: they are averaged, so their order does not matter.

    Args:
        first: file -> facts, with ``prompt``, empty where unknown.
        second: file -> facts of the other set.
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
    """Match paths of two lists that name the same file, by the longest common end, one to one.

    A path has a match where no other on either side shares as many of its last parts.

    Args:
        paths: parts of each path, the file's name last.
        others: parts of each path of the other list.

    Returns:
        Index in the first list -> index in the second.
    """
    common = [[common_end(one, other) for other in others] for one in paths]
    forth = [_only_best(row) for row in common]
    back = [_only_best([row[place] for row in common]) for place in range(len(others))]
    return {one: other for one, other in enumerate(forth) if other is not None and back[other] == one}


def _only_best(shared: Sequence[int]) -> int | None:
    most = max(shared, default=0)
    return shared.index(most) if most and shared.count(most) == 1 else None


def common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """Number of parts that two paths share, counted from the last one."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
