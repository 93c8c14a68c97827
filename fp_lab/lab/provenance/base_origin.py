"""What a base of the lab's own was trained on, by what is written beside its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_config import run_settings
from fp_lab.weights.shipped import shipped_folder

PROVENANCE_FILE = "provenance.json"


def provenance_of(folder: Path) -> dict[str, Any]:
    """What is known of how a model was made; empty where nothing is."""
    return read_json(folder / PROVENANCE_FILE)


def knows_only_the_world(base: str) -> bool:
    """Whether a base has seen the synthetic world and nothing else: of `fp-lab pretrain`, or of a run on it.

    Args:
        base: as `model.base`; unknown of one in diffusers' format, and of one without a record.
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
    """Whether an arm says nothing of a large model: its own began from nothing, or on a base of the world.

    Args:
        config: of the arm, as plain data.
    """
    base = config.get("model", {}).get("base")
    return not base or knows_only_the_world(base)


def toy_base(config: Mapping[str, Any]) -> str | None:
    """What is to be said of an arm on clips whose base knows the synthetic world alone; None of any other.

    Args:
        config: of the arm, as plain data.
    """
    base = config.get("model", {}).get("base")
    if config.get("data", {}).get("kind") != "clips" or not base or not knows_only_the_world(base):
        return None
    return (
        f"model.base={base} was trained on the synthetic world alone, and clips are not like it: within a "
        "section people and places become the world's objects. Scores, stars and ranks say how fast these "
        "models do so, not which recipe suits such videos; docs/own_clips.md says how to bring another base"
    )
