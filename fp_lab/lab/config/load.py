"""Loading of experiments: layers merged, recipes resolved, baselines expanded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fp_lab.baselines import PACKED, Baseline, baseline
from fp_lab.lab.config.experiment import ExperimentConfig
from fp_lab.lab.config.layers import (
    Layer,
    Settings,
    dotted_layer,
    override_layer,
    read_layers,
    typed,
    with_origin,
)
from fp_lab.lab.config.plugins import use_plugins
from fp_lab.lab.config.yaml_files import yaml_of
from fp_lab.lab.files.experiments import find_experiment
from fp_lab.lab.files.weights import latent_stride
from fp_lab.recipe.orders import ORDERS
from fp_lab.recipe.parts import PARTS, resolve_recipe
from fp_lab.registry import plugin_names


def load(name: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Load an experiment from a file (see `find_experiment`) and ``key=value`` overrides.

    Raises:
        ValueError: a file or key does not exist, or a value has the wrong type.
    """
    return merge(
        [*read_layers(find_experiment(name), ExperimentConfig), override_layer(overrides, ExperimentConfig)]
    )


def load_settings(kind: type[Settings], name: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Load settings of another kind than an experiment, such as pretraining, in the same way.

    Raises:
        ValueError: a file or key does not exist, or a value has the wrong type.
    """
    return typed(kind, [*read_layers(find_experiment(name), kind), override_layer(overrides, kind)])


def merge(layers: Sequence[Layer]) -> ExperimentConfig:
    """Merge layers, later ones over earlier ones; see `resolve_recipe` for recipe and parts.

    A layer with ``baseline`` (and ``protocol`` and ``like``) stands for that baseline's recipe and settings,
    which the same layer and later ones may change.

    Raises:
        ValueError: a key or value does not fit; the message names the key, its source, what came and what was
            expected.
    """
    try:
        use_plugins(_plugins(layers))
    except ValueError as error:
        raise ValueError(with_origin(str(error), layers)) from error
    return _merged(_with_baselines(_with_orders(layers)))


def _plugins(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Plugins that the last layer with some names; their names are needed to check other settings."""
    asked = next((layer for layer in reversed(layers) if "plugins" in layer.values), None)
    return () if asked is None else plugin_names(asked.values["plugins"])


def _with_orders(layers: Sequence[Layer]) -> list[Layer]:
    """Layers in which an order of a plugin is vanilla by its recipe, and filled by that order."""
    spelled: list[Layer] = []
    for layer in layers:
        if fill := fill_of_order(layer.values):
            spelled.append(dotted_layer(fill, layer.origin))
            layer = replace(layer, values={**layer.values, "order": "vanilla"})
        spelled.append(layer)
    return spelled


def fill_of_order(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the setting that an order of a plugin stands for; empty for built-in orders."""
    order = values.get("order")
    return {"sampling.fill": order} if isinstance(order, str) and ORDERS.foreign(order) else {}


def _with_baselines(layers: Sequence[Layer]) -> list[Layer]:
    """Layers with baselines expanded into their settings."""
    spelled: list[Layer] = []
    made: Baseline | None = None
    for layer in layers:
        values = dict(layer.values)
        named = [key for key in ("recipe", *PARTS) if key in values]
        if named and (made or "baseline" in values):
            raise ValueError(
                f"{layer.origin}: got {', '.join(named)} with a baseline, expected one of them: "
                f"a baseline has a recipe of its own{layer.line(named[0])}"
            )
        if "baseline" not in values:
            stray = [key for key in ("protocol", "like") if key in values]
            if stray and "label" not in values:
                raise ValueError(
                    f"{layer.origin}: got {', '.join(stray)} without a baseline, expected both in one place, "
                    f"such as {{baseline: causal_attention, protocol: equal_tokens}}{layer.line(stray[0])}"
                )
            spelled.append(layer)
            continue
        name, protocol = str(values.pop("baseline")), str(values.pop("protocol", "paper"))
        like = str(values.pop("like", PACKED))
        videos: dict[str, Any] = {key: values[key] for key in ("data", "evaluation") if key in values}
        lines = {"recipe" if key == "like" else key: line for key, line in layer.lines.items()}
        about = _merged([*spelled, replace(layer, values={**videos, "recipe": like}, lines=lines)])
        side = about.data.size // latent_stride(about.codec.source)
        frames = about.evaluation.frames
        try:
            made = baseline(name, protocol, packed=like, frames=frames, rows=side, columns=side)
        except ValueError as error:
            raise ValueError(with_origin(str(error), [layer])) from error
        own = {"recipe": str(made.recipe), "label": name, "protocol": protocol, **made.settings}
        spelled += [dotted_layer(own, layer.origin), replace(layer, values=values)]
    return spelled


def _merged(layers: Sequence[Layer]) -> ExperimentConfig:
    try:
        recipe = resolve_recipe([layer.values for layer in layers])
    except ValueError as error:
        raise ValueError(with_origin(str(error), layers)) from error
    own = [
        replace(layer, values={k: v for k, v in layer.values.items() if k not in (*PARTS, "recipe")})
        for layer in layers
    ]
    return typed(ExperimentConfig, [*own, Layer("recipe", {"recipe": recipe})])


def to_yaml(config: ExperimentConfig) -> str:
    """Write the resolved config as YAML; `load` gives an equal one."""
    return yaml_of(asdict(config))
