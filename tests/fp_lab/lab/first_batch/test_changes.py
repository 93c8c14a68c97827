"""Arms change what their settings say; one whose option gets lost on the way is refused by name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import tiny_experiment
from fp_lab.causal import Blocks
from fp_lab.checks.later import acts_later
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.history_sources import HISTORY_SOURCES
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.experiments import find_grids
from fp_lab.lab.first_batch import changes, inputs, looks
from fp_lab.lab.first_batch.changes import Change, LookedAt, changes_of, require_changes
from fp_lab.lab.first_batch.digests import digest_of
from fp_lab.lab.grids.changes import changes_in
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.model import FramePackModel
from fp_lab.training.objective import ObjectiveConfig


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_experiment(folder)
    return folder


@pytest.fixture(autouse=True)
def _two_videos(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (inputs, looks, changes):
        monkeypatch.setattr(module, "VIDEOS", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arms_of(tiny: Path, arms: str, overrides: Sequence[str] = ()) -> dict[str, Change]:
    """Changes of the arms of a grid over the tiny experiment."""
    path = tiny / "grid.yaml"
    path.write_text(f"base: tiny\narms: {arms}\n", encoding="utf-8")
    found, remarks = changes_in(load_grid(path, overrides))
    assert not remarks
    return dict(found)


HISTORY, PLACES = {"history"}, {"tokens", "target"}
EXPECTED: dict[str, dict[str, set[str]]] = {
    "demo/drift": {
        "td_f16k4f2k2f1k1_g9": {"tokens", "history"},
        "td_f16k4f2k2f1k1_g9_x_f1k1": {"tokens", "history", "target"},
        "f1k1_x_g9_f1k1f2k2f16k4_td": {"tokens", "history", "target"},
    },
    "demo/memory": {
        "td_f19k1_g9": {"tokens", "history"},
        "td_f1k1_g9": {"tokens", "history"},
        "td_f16k4f2k2f1k1_g9": {"tokens", "history"},
    },
    "drift": {
        "td_f2k1h8w8f1k1h8w4f1k1h4w4f1k1h4w2f1k1_g9_x_f1k1": PLACES,
        "f1k1_x_g9_f1k1f1k1h4w2f1k1h4w4f1k1h8w4f2k1h8w8_td": PLACES,
        "td_f16k4f2k2f1k1_g9": {"tokens"},
        "td_f16k4f2k2f1k1_g9+D256": {"tokens", "history"},
        "f1k1_x_f16k4f2k2f1k1_g9": {"tokens"},
        "td_f16k4f2k2f1k1_g9--objective.history.noise=0.0": {"tokens", "history"},
        "g9": {"tokens", "history"},
    },
    "antidrift": {
        "td_f16k4f2k2f1k1_g9--objective.history.source=augmented": HISTORY,
        "td_f16k4f2k2f1k1_g9--objective.history.source=recycled": HISTORY,
        "td_f16k4f2k2f1k1_g9--objective.history.source=resampled": {"history", "training.steps"},
        "td_f16k4f2k2f1k1_g9--sampling.rope_jitter=0.8": {"first sections"},
        "td_f16k4f2k2f1k1_g9--sampling.recency.beta=0.1": {"first sections"},
        "td_f16k4f2k2f1k1_g9--sampling.adaptive.strength=0.1": set(),
    },
    "memory": {
        "f1k1_x_g9_f1k1f2k2f16k4_td": {"tokens", "history", "target"},
        "td_f16k4f2k2f1k1_g9--context.importance.kind=similarity": {"tokens", "history"},
        "td_f19k1_g9--evaluation.shuffled=True": {"tokens", "history", "evaluation.shuffled"},
    },
    "table1": {
        **{f"td_f16k4f2k2f1k1_g9+D{size}": HISTORY for size in ("", 1, 16, 64, 256, 1024)},
        "td_f16k4f2k2f1k1_g9--objective.history.noise=0.3": HISTORY,
        "td_f16k4f2k2f1k1_g9+D--objective.history.noise=0.3": HISTORY,
        "td_f8k8f4k4f2k2f1k1_g9": {"tokens"},
        "td_f8k8f4k4f2k2f1k1_g9+D": {"tokens", "history"},
        "f1k1_x_g9_f1k1f2k2f16k4_td": PLACES,
        "td_f16k4f2k2f1k1_g9_x_f1k1": PLACES,
        "td_f16k4f2k2f1k1_g4": PLACES,
        "td_f16k4f2k2f1k1_g4--training.compute_of=td_f16k4f2k2f1k1_g9": {*PLACES, "training.steps"},
        "ta_f16k4f2k2f1k1_g9": {"tokens"},
        "tc_f16k4f2k2f1k1_g9": {"tokens"},
        "g9": {"tokens", "history"},
    },
    "table2": {
        "td_f16k4f2k2f1k1_g9+D256": {*PLACES, "history"},
        "repeating_i2v": PLACES,
        "anchor_frames": PLACES,
        "causal_attention": {*PLACES, "mask", "history"},
        "causal_attention--protocol=equal_tokens": {*PLACES, "mask", "history"},
        "noisy_history_test0": {*PLACES, "history"},
        "noisy_history_test0.5": {*PLACES, "history", "sampling.history_level"},
        "full_history": PLACES,
        "sliding_window": PLACES,
        "no_history": {*PLACES, "history"},
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_arm_of_the_shipped_grids_changes_what_it_is_for(name: str, tiny: Path) -> None:
    (file,) = find_grids(name)
    own = [f"codec.source={tiny}/codec", f"model.base={tiny}/base", "data.world.size=32"]
    found, remarks = changes_in(load_grid(file, own))
    assert not remarks
    assert not [change.fault for change in found.values() if change.fault]
    for arm, expected in EXPECTED[name].items():
        # the loss of a base with random weights hardly heeds its history
        assert set(found[arm].parts) - {"loss"} == expected, arm
    for arm, change in list(found.items())[1:]:
        assert change.parts or change.text.startswith("nothing yet"), arm


LOST = "[{recipe: td_f2k1f1k1_g3}, {recipe: td_f2k1f1k1_g3, objective.history.noise: 0.4}]"


def test_an_option_that_gets_lost_on_the_way_is_refused_by_name(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = "td_f2k1f1k1_g3--objective.history.noise=0.4"
    assert arms_of(tiny, LOST)[arm].parts == ("history", "loss")
    whole = looks.build_system
    monkeypatch.setattr(
        looks,
        "build_system",
        lambda config, model: whole(replace(config, objective=ObjectiveConfig()), model),
    )
    found = arms_of(tiny, LOST)
    assert found[arm].text == "nothing"
    with pytest.raises(ValueError, match=re.escape(arm)) as told:
        require_changes(found, [arm])
    for part in ("objective.history.noise=0.4 (there 0.0)", "tokens, mask, history", "expect_same: true"):
        assert part in str(told.value)
    require_changes(found, ["td_f2k1f1k1_g3"])  # a finished arm is left alone


CAUSAL = "[{recipe: td_f6k1_g3}, {recipe: td_f6k1_g3, context.attention: block_causal}]"


def test_a_causal_model_with_full_attention_has_no_other_mask(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = "td_f6k1_g3--context.attention=block_causal"
    assert "mask" in arms_of(tiny, CAUSAL)[arm].parts
    whole = FramePackModel.forward
    monkeypatch.setattr(
        FramePackModel,
        "forward",
        lambda self, noisy, times, sigmas, text, context, attention_mask=None, moments=None: whole(
            self, noisy, times, sigmas, text, context, None, moments
        ),
    )
    assert "mask" not in arms_of(tiny, CAUSAL)[arm].parts
    monkeypatch.setattr(FramePackModel, "forward", whole)
    monkeypatch.setattr(Blocks, "mask", lambda self, frames, tokens: None)  # as if there were no blocks
    assert "mask" not in arms_of(tiny, CAUSAL)[arm].parts


def test_what_acts_in_sampling_alone_shows_in_the_first_sections(tiny: Path) -> None:
    arms = """
      - {recipe: td_f2k1f1k1_g3}
      - {recipe: td_f2k1f1k1_g3, sampling.solver.name: heun}
      - {recipe: td_f2k1f1k1_g3, sampling.history_guidance: 1.5}
      - {recipe: td_f2k1f1k1_g3, sampling.negative_prompt: blurred}
      - {recipe: td_f2k1f1k1_g3, sampling.negative_prompt: grey, expect_same: true}
      - {recipe: td_f2k1f1k1_g3, training.steps: 9}
      - {recipe: td_f2k1f1k1_g3, sampling.reencode: true}
      - {recipe: td_f2k1f1k1_g3, sampling.section_noise: shared}
      - {recipe: td_f2k1f1k1_g3, sampling.adaptive.strength: 0.5}
    """
    first, heun, guided, unused, declared, longer, *switched, late = arms_of(tiny, arms).values()
    assert first.text == "(first)"
    for shown in (heun, guided, *switched):
        assert shown.parts == ("first sections",)
    assert late.text == "nothing yet: once a section has left the bands"
    assert longer.parts == ("training.steps",)
    assert unused.text == "nothing"
    assert "sampling.negative_prompt=blurred" in unused.fault
    assert (declared.text, declared.fault) == ("nothing, as expected", "")
    assert not [one.fault for one in (heun, guided, longer, *switched, late) if one.fault]


def test_every_source_of_histories_changes_the_history_as_soon_as_it_has_one(tiny: Path) -> None:
    sources = ("true", "augmented", "recycled", "resampled", "rollout", "reversed")
    arms = [
        f"{{recipe: td_f2k1f1k1_g3, label: {name}, objective.history.source: {name}}}" for name in sources
    ]
    found = dict(zip(sources, arms_of(tiny, f"[{', '.join(arms)}]").values(), strict=True))
    for name in sources[1:]:
        assert "history" in found[name].parts, name
        assert not found[name].fault
    for name in ("recycled", "resampled"):  # the bank of errors is empty in the first batch
        assert found[name].parts == ("history", "loss")


def test_an_arm_is_compared_with_every_earlier_one(tiny: Path) -> None:
    arms = """
      - {recipe: g3}
      - {recipe: td_f2k1f1k1_g3}
      - {recipe: td_f2k1f1k1_g3, label: again}
      - {recipe: td_f2k1f1k1_g3, objective.history.sigma: 0.2}
    """
    first, packed, again, unused = arms_of(tiny, arms).values()
    assert again.fault == "again: has the settings of td_f2k1f1k1_g3"
    assert "objective.history.sigma=0.2" in unused.fault
    assert unused.fault.endswith("are those of td_f2k1f1k1_g3")
    assert not first.fault
    assert not packed.fault


def test_a_declaration_belongs_to_no_name_and_no_key(tiny: Path) -> None:
    path = tiny / "grid.yaml"
    path.write_text("base: tiny\narms: [{recipe: g3}, {recipe: td_f1k1_g3, expect_same: true}]\n")
    plain, declared = load_grid(path).arms
    assert (declared.name, plain.expect_same, declared.expect_same) == ("td_f1k1_g3", False, True)
    path.write_text("base: tiny\narms: [{recipe: td_f1k1_g3}]\n")
    (without,) = load_grid(path).arms
    assert stage_keys(declared.config) == stage_keys(without.config)
    path.write_text("base: tiny\narms: [{recipe: td_f1k1_g3, expect_same: maybe}]\n")
    with pytest.raises(ValueError, match="expect_same: got 'maybe'"):
        load_grid(path)


@dataclass(frozen=True)
class _Late(HistoryConfig):
    sigma: float = field(default=0.1, metadata=acts_later("once there is a bank"))


def test_what_acts_later_is_said_and_not_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny / "grid.yaml"
    path.write_text("base: tiny\narms: [{training.steps: 9}]\n", encoding="utf-8")
    (plain,) = load_grid(path).arms

    def with_history(history: HistoryConfig) -> ExperimentConfig:
        return replace(plain.config, objective=replace(plain.config.objective, history=history))

    def same(latents: Any, generator: Any) -> Any:
        return latents

    same.acts_later = "from the next step on"  # type: ignore[attr-defined]
    monkeypatch.setitem(HISTORY_SOURCES._known, "same", same)
    arms = [
        LookedAt("first", with_history(_Late())),
        LookedAt("late", with_history(_Late(sigma=0.2))),
        LookedAt("source", with_history(_Late(source="same"))),
    ]
    found = changes_of(arms)
    assert found["late"].text == "nothing yet: once there is a bank"
    assert found["source"].text == "nothing yet: from the next step on"
    assert not [change.fault for change in found.values() if change.fault]


def test_what_other_settings_switch_off_does_not_act_later(tiny: Path) -> None:
    arms = """
      - {label: first}
      - {label: every, objective.history.rollout.every: 5}
      - {label: entries, objective.history.recycled.entries: 5}
      - {label: bands, sampling.adaptive: {momentum: 0.5, mean: 0.2}}
      - {label: rollout, objective.history.source: rollout}
      - {label: often, objective.history: {source: rollout, rollout.every: 5}}
      - {label: noisy, sampling.adaptive.strength: 0.5}
      - {label: banded, sampling.adaptive: {strength: 0.5, mean: 0.2}}
    """
    _, *off, rollout, often, noisy, banded = arms_of(tiny, arms, ["training.steps=9"]).values()
    for change, key in zip(
        off, ("rollout.every=5", "recycled.entries=5", "adaptive.momentum=0.5"), strict=True
    ):
        assert key in change.fault
        assert change.text == "nothing"
    assert not [change.fault for change in (rollout, often, noisy, banded) if change.fault]


def test_nothing_acts_after_the_last_step_and_the_last_section(tiny: Path) -> None:
    arms = """
      - {label: first, objective.history.source: rollout}
      - {label: every, objective.history: {source: rollout, rollout.every: 50}}
      - {label: noisy, objective.history.source: rollout, sampling.adaptive.strength: 0.5}
    """
    # the base has three sections; with 7 frames the second one is the last, which nothing reads
    short = ["evaluation.frames=7", "training.steps=8"]
    _, every, noisy = arms_of(tiny, arms, short).values()
    assert "rollout.every=50" in every.fault
    assert "adaptive.strength=0.5" in noisy.fault
    _, every, noisy = arms_of(tiny, arms, ["training.steps=9"]).values()
    assert (every.text, every.fault) == ("nothing yet: from the second refresh on", "")
    assert (noisy.text, noisy.fault) == ("nothing yet: once a section has left the bands", "")


def test_a_share_that_is_too_small_to_be_seen_is_said_and_not_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = """
      - {label: first, objective.history.clean: 0.9999}
      - {label: dropped, objective.history.dropout: 1.0e-4, objective.history.clean: 0.9999}
      - {label: noisy, objective.history: {noise: 0.4, clean: 0.9999}}
      - {label: unread, objective.history: {recycled.share: 1.0e-4, clean: 0.9999}}
    """
    _, dropped, noisy, unread = arms_of(tiny, arms).values()
    assert (dropped.text, dropped.fault) == (
        "nothing yet: by chance, objective.history.dropout is 0.0001",
        "",
    )
    assert (noisy.text, noisy.fault) == ("nothing yet: by chance, objective.history.clean is 0.9999", "")
    assert "recycled.share=0.0001" in unread.fault, "no source has a bank there"
    whole = looks.build_system
    monkeypatch.setattr(
        looks,
        "build_system",
        lambda config, model: whole(replace(config, objective=ObjectiveConfig()), model),
    )
    _, dropped, noisy, _ = arms_of(tiny, arms).values()
    assert "dropout=0.0001" in dropped.fault, "it gets lost on the way, whatever the share"
    assert "noise=0.4" in noisy.fault


def test_large_grids_are_looked_at_when_asked(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny / "grid.yaml"
    path.write_text("base: tiny\narms: [{recipe: g3}, {recipe: td_f1k1_g3}]\n", encoding="utf-8")
    grid = load_grid(path)
    monkeypatch.setattr("fp_lab.lab.grids.changes.MOST", 1)
    found, remarks = changes_in(grid)
    assert found["td_f1k1_g3"].parts == ("recipe",)
    assert "--look" in remarks[0]
    assert changes_in(grid, look=True)[0]["td_f1k1_g3"].parts == ("tokens", "history", "loss")
    assert "--no-look" in changes_in(grid, look=False)[1][0]


def test_an_arm_that_cannot_be_looked_at_says_why(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("no such weights")

    monkeypatch.setattr(looks, "build_system", fail)
    path = tiny / "grid.yaml"
    path.write_text(f"base: tiny\narms: {LOST}\n", encoding="utf-8")
    found, (remark,) = changes_in(load_grid(path))
    (_, lost) = found.values()
    assert lost.text == "objective.history.noise; not looked at"
    assert not lost.fault
    assert "no such weights (td_f2k1f1k1_g3--objective.history.noise=0.4)" in remark


def test_digests_tell_values_apart_by_shape_type_and_bits() -> None:
    one = torch.tensor([1.0, 2.0])
    same, others = (
        one.clone(),
        (one[:, None], one.double(), one + 1e-7, None, (one,), {"a": one}, one.bfloat16()),
    )
    assert digest_of(one) == digest_of(same)
    assert len({digest_of(value) for value in (one, *others)}) == 1 + len(others)
    assert digest_of(torch.tensor(True)) != digest_of(torch.tensor(False))
