"""Keys of the stages: they change on purpose only."""

from pathlib import Path

import pytest

from fixtures import tiny_config
from fp_lab.lab import keys
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.keys import STAGE_VERSIONS, stage_keys


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentConfig:
    """A tiny experiment whose weights and estimators have fixed identities."""
    monkeypatch.setattr(keys, "weights_sha256", lambda what, source: f"weights of the {what}")
    monkeypatch.setattr(keys, "measured_by", lambda config: {"protocol": 1})
    return tiny_config(tmp_path)


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
