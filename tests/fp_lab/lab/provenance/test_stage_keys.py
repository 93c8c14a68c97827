"""Keys of the stages: they change on purpose only."""

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import tiny_config
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.provenance import inputs
from fp_lab.lab.provenance import stage_keys as keys
from fp_lab.lab.provenance.stage_keys import STAGE_VERSIONS, StageKeys, stage_keys

GOLDEN = StageKeys(
    train="48aa9ca4df8f8f4cd39ac239534b8c219ed0909977d737d90ba951ca74ba3224",
    sample="cb220675615659bc79de279e1bed4c2a21310d2225f08347e705e941ea482f07",
    score="5446da7f33f79c1a4441e8c23a97a80c574dd7d5c9a30572028067399291c79d",
    truth="395f76e60cff74b8d7cf3f94119364fc1f2146e2af3db1507ddc02a8ea87f9fe",
)
"""Of the config below, for versions of 1. Other values here do stages of everybody's runs again."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentConfig:
    """A tiny experiment whose weights and estimators have fixed identities."""
    monkeypatch.setattr(inputs, "weights_sha256", lambda what, source: f"weights of the {what}")
    monkeypatch.setattr(keys, "measured_by", lambda config: {"protocol": 1})
    return tiny_config(tmp_path)


def test_keys_of_a_fixed_config_change_on_purpose_only(
    config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in STAGE_VERSIONS:
        monkeypatch.setitem(STAGE_VERSIONS, stage, 1)
    assert stage_keys(config) == GOLDEN


@pytest.mark.parametrize(
    ("stage", "changed"),
    [
        ("train", {"train", "sample", "score"}),
        ("sample", {"sample", "score"}),
        ("score", {"score"}),
        ("truth", {"score", "truth"}),
    ],
)
def test_another_version_of_a_stage_does_it_and_what_follows_again(
    config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch, stage: str, changed: set[str]
) -> None:
    before = stage_keys(config)
    monkeypatch.setitem(STAGE_VERSIONS, stage, STAGE_VERSIONS[stage] + 1)
    after = stage_keys(config)
    assert {name for name in STAGE_VERSIONS if getattr(after, name) != getattr(before, name)} == changed


def test_what_trains_and_samples_is_not_loaded_to_look_at_a_grid() -> None:
    """Importing it takes longer than looking."""
    code = (
        "import sys\n"
        "from fp_lab.lab.grids import engines, grid\n"
        "arms = grid.load_grid('quickstart').arms\n"
        "def loaded(*names): print(len(arms), *[name for name in names if name in sys.modules])\n"
        "loaded('lightning', 'diffusers', 'peft', 'mlflow')\n"
        "from fp_lab.lab.grids import run_grid\n"
        "from fp_lab.lab.provenance import stage_keys as keys\n"
        "assert all(keys.stage_keys(arm.config) for arm in arms)\n"
        "lab = 'fp_lab.lab.'\n"
        "loaded('lightning', 'diffusers', 'peft', 'mlflow')\n"
        "loaded(lab + 'materials.materials', lab + 'scoring.score_run')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["3", "3", "3"]


def test_scores_of_still_scenes_depend_on_the_probe_whatever_the_families(tmp_path: Path) -> None:
    plain = ["evaluation.families=[plain]"]
    moving = keys.measured_by(tiny_config(tmp_path, plain))
    still = keys.measured_by(tiny_config(tmp_path, [*plain, "data.world.variant=curtain"]))
    with_probe = keys.measured_by(tiny_config(tmp_path, ["evaluation.families=[plain, probe]"]))
    assert still == with_probe != moving


@pytest.mark.parametrize(
    ("setting", "off"),
    [
        ("sampling.rope_jitter=0.8", "sampling.rope_jitter=0"),
        ("sampling.recency.beta=0.1", "sampling.recency={beta: 0, gamma: 1}"),
        ("sampling.adaptive.strength=0.1", "sampling.adaptive.strength=0"),
        ("sampling.section_noise=shared", "sampling.section_noise=fresh"),
        ("sampling.reencode=true", "sampling.reencode=false"),
        ("sampling.positions=relative", "sampling.positions=trained"),
    ],
)
def test_a_switch_of_sampling_makes_videos_again_and_no_model(
    setting: str, off: str, config: ExperimentConfig, tmp_path: Path
) -> None:
    plain, switched = stage_keys(config), stage_keys(tiny_config(tmp_path, [setting]))
    assert (switched.train, switched.truth) == (plain.train, plain.truth)
    assert switched.sample != plain.sample
    assert stage_keys(tiny_config(tmp_path, [off])) == plain


def test_keys_hold_the_settings_of_the_source_of_histories_that_is_used(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    history = "objective.history."
    used = [f"{history}source=recycled", f"{history}recycled.entries=7"]
    unused = [f"{history}source=recycled", f"{history}rollout.every=7"]
    plain, source, changed, same, true = (
        keys.stage_keys(tiny_config(tmp_path, settings)).train
        for settings in ((), used[:1], used, unused, [f"{history}rollout.every=7"])
    )
    assert len({plain, source, changed}) == 3
    assert (same, true) == (source, plain)
