"""Training data of the lab's own bases, by the record beside their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_config import run_settings
from fp_lab.weights.shipped import shipped_folder

PROVENANCE_FILE = "provenance.json"


def provenance_of(folder: Path) -> dict[str, Any]:
    """Read the provenance of a model; empty where there is none."""
    return read_json(folder / PROVENANCE_FILE)


def knows_only_the_world(base: str) -> bool:
    """Return whether a base was trained on the synthetic world alone, by `fp-lab pretrain` or a run on it.

    Args:
        base: value of `model.base`; False for diffusers' format and for bases without record.
    """
    if base == "shipped":
        return knows_only_the_world(str(shipped_folder("base")))
    folder = Path(base)
    if "world" in provenance_of(folder).get("config", {}):
        return True
    run = folder.parent.parent / "config.yaml"  # of a trained arm, whose model is in train/model
    config = run_settings(run)
    source = config.get("model", {}).get("base")
    return config.get("data", {}).get("kind") == "world" and bool(source) and knows_only_the_world(source)


def is_toy(config: Mapping[str, Any]) -> bool:
    """Return whether an arm tells nothing about large models: trained from scratch or on a base of the world.

    Args:
        config: settings of the arm, as plain data.
    """
    base = config.get("model", {}).get("base")
    return not base or knows_only_the_world(base)


def toy_base(config: Mapping[str, Any]) -> str | None:
    """Caution for an arm on clips whose base knows the synthetic world alone; None for other arms.

    Args:
        config: settings of the arm, as plain data.
    """
    base = config.get("model", {}).get("base")
    if config.get("data", {}).get("kind") != "clips" or not base or not knows_only_the_world(base):
        return None
    return (
        f"model.base={base} was trained on the synthetic world alone, and clips are not like it: within a "
        "section people and places become the world's objects. Scores, stars and ranks say how fast these "
        "models do so, not which recipe suits such videos; docs/own_clips.md says how to bring another base"
    )
