"""Cautions on arms before they run: on base, lengths, kernels and families."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.grids.grid import Arm
from fp_lab.lab.planning.flops import shape_of, strides_of, training_shapes
from fp_lab.lab.provenance.base_origin import toy_base
from fp_lab.lab.results.setting_differences import shortened
from fp_lab.packing.kernel_fit import misfits
from fp_lab.recipe.lengths import left_over, not_whole


def cautions(arms: Sequence[Arm]) -> list[str]:
    """List each remark once, with the first arm that it is about."""
    about: dict[str, list[str]] = {}
    for arm in arms:
        model, data = arm.config.model, arm.config.data
        base = toy_base({"model": {"base": model.base}, "data": {"kind": data.kind}})
        of_config = (
            *length_remarks(arm.config),
            *kernel_remarks(arm.config),
            *family_remarks(arm.config),
        )
        for remark in (*([base] if base else []), *of_config):
            about.setdefault(remark, []).append(arm.name)
    return [f"{remark} ({shortened(list(dict.fromkeys(names)))})" for remark, names in about.items()]


def length_remarks(config: ExperimentConfig) -> tuple[str, ...]:
    """Remarks on lengths of an arm's training windows and evaluation videos that are no whole sections."""
    return (*_on_windows(config), *_on_videos(config))


def kernel_remarks(config: ExperimentConfig) -> tuple[str, ...]:
    """Remarks on kernels too coarse for an arm's evaluation videos and training windows, see `misfits`."""
    data = config.data
    sizes: dict[tuple[int, int], str] = {}
    with suppress(ValueError):  # see _on_windows
        shape = shape_of(config, 1)
        sizes[shape.rows, shape.columns] = f"data.{data.kind}.size={data.size}"
    with suppress(ValueError):
        for shape in training_shapes(config):
            sizes.setdefault((shape.rows, shape.columns), f"data.cache={data.cache}")
    recipe = config.parsed_recipe
    return tuple(f"{setting}: {said}" for size, setting in sizes.items() for said in misfits(recipe, *size))


def family_remarks(config: ExperimentConfig) -> tuple[str, ...]:
    """Remarks on requested families that do not apply to an arm's videos."""
    from fp_lab.lab.scoring.score_run import left_out  # slow to import

    return tuple(
        f"evaluation.families: {family} is left out: {why}" for family, why in left_out(config).items()
    )


def _on_windows(config: ExperimentConfig) -> Iterator[str]:
    from fp_lab.lab.materials.models import planned_sections  # slow to import

    source, section = planned_sections(config), config.parsed_recipe.section
    with suppress(ValueError):  # a cache or a codec that is not there is named by who needs it
        temporal = strides_of(config).temporal
        for frames in sorted({shape.frames for shape in training_shapes(config)}):
            share = source.short_share(frames)
            if share:
                given = next(n for n in (1, *config.objective.given) if left_over(section, frames, n))
                yield (
                    f"{_setting(config)}: training windows of {not_whole(section, frames, given, temporal)}. "
                    f"{share:.0%} of the steps train a length that videos of whole sections never have"
                )


def _setting(config: ExperimentConfig) -> str:
    data = config.data
    return f"data.cache={data.cache}" if data.cache is not None else f"data.{data.kind}.frames={data.frames}"


def _on_videos(config: ExperimentConfig) -> Iterator[str]:
    evaluation = config.evaluation
    if why := not_whole(config.parsed_recipe.section, evaluation.frames, evaluation.given):
        yield f"evaluation.frames={evaluation.frames}: videos of {why}"
