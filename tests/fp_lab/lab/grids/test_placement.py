"""Where arms run: earlier results stay, whatever is asked for after them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import tiny_experiment
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import STAGES, RunFolder
from fp_lab.lab.grids import placement
from fp_lab.lab.grids.grid import Grid, load_grid
from fp_lab.lab.grids.placement import Placed, place_arms, release_unused, reserve_folders
from fp_lab.lab.provenance import stage_keys as keys_module
from fp_lab.lab.provenance.inputs import Inputs
from fp_lab.lab.runs import identity
from fp_lab.lab.runs.identity import ARM_FILE, FolderTaken, Identity, require_own_folder

ARM = "td_f2k2f1k1_g3"
OTHER = "f1k1_x_g3_f1k1f2k2_td"
MORE_STEPS = f"{ARM}--training.steps=6"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_experiment(tmp_path)
    return tmp_path / "runs" / "mine"


def grid(folder: Path, *overrides: str, arms: str = "{}", seeds: str = "[0]") -> Grid:
    path = folder.parents[1] / "mine.yaml"
    path.write_text(f"base: tiny\narms: [{arms}]\nseeds: {seeds}\n")
    return load_grid(path, overrides)


def finish(placed: Placed, stages: Sequence[str] = STAGES) -> None:
    """Leave what stages leave, without doing them."""
    for arm, keys in zip(placed.grid.arms, placed.keys, strict=True):
        run = RunFolder(placed.folder / arm.folder)
        for stage in stages:
            with run.doing(stage, getattr(keys, stage)):
                made = {"train": run.model, "sample": run.samples, "score": run.summary.parent}[stage]
                made.mkdir(parents=True, exist_ok=True)
                (made / "made").write_text(str(arm.config.training.steps))


def places(placed: Placed) -> list[str]:
    return [str(arm.folder) for arm in placed.grid.arms]


def test_other_settings_go_beside_and_both_are_found_again(folder: Path) -> None:
    finish(reserve_folders(grid(folder), folder))
    longer = reserve_folders(grid(folder, "training.steps=6"), folder)
    assert places(longer) == [f"{MORE_STEPS}/seed0"]
    (line,) = longer.lines
    assert all(part in line for part in ("training.steps=4", "training.steps=6", MORE_STEPS, "--replace"))
    finish(longer)
    assert places(place_arms(grid(folder), folder)) == [f"{ARM}/seed0"]
    assert places(place_arms(grid(folder, "training.steps=6"), folder)) == [f"{MORE_STEPS}/seed0"]
    for place, steps in ((ARM, "4"), (MORE_STEPS, "6")):
        assert (folder / place / "seed0" / "train" / "model" / "made").read_text() == steps


def test_the_names_of_several_settings_and_of_reports_tell_them_apart(folder: Path) -> None:
    finish(reserve_folders(grid(folder), folder))
    both = place_arms(grid(folder, "training.steps=6", "sampling.guidance=2.0"), folder)
    apart = "training.steps=6--sampling.guidance=2.0"
    assert places(both) == [f"{ARM}--{apart}/seed0"]
    assert both.reported == folder / "reports" / apart
    assert place_arms(grid(folder), folder).reported == folder


def test_other_weights_with_the_same_settings_go_into_a_numbered_folder(folder: Path) -> None:
    finish(reserve_folders(grid(folder), folder))
    codec = folder.parents[1] / "codec" / "model.safetensors"
    codec.write_bytes(codec.read_bytes() + b" ")
    placed = place_arms(grid(folder), folder)
    assert places(placed) == [f"{ARM}--2/seed0"]
    assert "of other weights; those of now" in placed.lines[0]


def test_a_setting_that_is_newer_than_results_is_no_difference(folder: Path) -> None:
    """Results from before `evaluation.shuffled` existed, of another base."""
    finish(reserve_folders(grid(folder), folder))
    now = Identity.of(grid(folder).arms[0].config)
    older = {name: value for name, value in now.settings.items() if name != "evaluation.shuffled"}
    base = replace(now, score="another", settings=older, made_of={**now.made_of, "weights": "others"})
    assert base.differences(now) == {}
    assert base.changed_dependencies(now) == ["weights"]


def test_results_of_another_version_are_said_to_be_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(reserve_folders(grid(folder), folder))
    monkeypatch.setitem(keys_module.STAGE_VERSIONS, "train", 99)
    placed = place_arms(grid(folder), folder)
    assert places(placed) == [f"{ARM}--2/seed0"]
    assert "of another version of the lab; those of now" in placed.lines[0]


def test_what_is_replaced_is_told_beforehand_and_nothing_is_written(folder: Path) -> None:
    finish(reserve_folders(grid(folder), folder))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    planned = place_arms(grid(folder, "training.steps=6"), folder, in_place=True)
    assert places(planned) == [f"{ARM}/seed0"]
    (line,) = planned.lines
    assert all(part in line for part in ("training.steps=4", "training.steps=6", f"replace them in {ARM}"))
    again = place_arms(grid(folder), folder, redo=True)
    assert again.keys != place_arms(grid(folder), folder).keys
    for path, content in before.items():
        assert path.read_bytes() == content
    assert reserve_folders(grid(folder), folder, redo=True).keys == again.keys
    finish(reserve_folders(grid(folder, seeds="[0, 1]"), folder))
    with pytest.raises(ValueError, match=r"--replace: .*seed1"):
        place_arms(grid(folder, "training.steps=6"), folder, in_place=True)


def test_seeds_of_an_arm_stay_together(folder: Path) -> None:
    """Results of seed 0 alone keep seed 1 of other settings out: one arm's seeds share their settings."""
    finish(reserve_folders(grid(folder), folder))
    assert places(place_arms(grid(folder, seeds="[0, 1]"), folder)) == [f"{ARM}/seed0", f"{ARM}/seed1"]
    longer = place_arms(grid(folder, "training.steps=6", seeds="[1, 2]"), folder)
    assert places(longer) == [f"{MORE_STEPS}/seed1", f"{MORE_STEPS}/seed2"]


def test_settings_that_change_no_result_keep_the_folder(folder: Path) -> None:
    finish(reserve_folders(grid(folder), folder))
    same = grid(folder, "training.checkpoint_every=1", "track.every=2")
    assert places(place_arms(same, folder)) == [f"{ARM}/seed0"]


def test_of_two_commands_at_once_the_second_goes_beside_though_nothing_is_done_yet(folder: Path) -> None:
    first = reserve_folders(grid(folder), folder)
    second = reserve_folders(grid(folder, "training.steps=6"), folder)
    assert (places(first), places(second)) == ([f"{ARM}/seed0"], [f"{MORE_STEPS}/seed0"])
    release_unused(first)  # it ends before anything is written
    assert places(place_arms(grid(folder, "training.steps=7"), folder)) == [f"{ARM}/seed0"]


def test_a_folder_that_others_have_by_now_is_not_written_into(folder: Path) -> None:
    first = reserve_folders(grid(folder), folder)
    release_unused(first)
    second = reserve_folders(grid(folder, "training.steps=6"), folder)
    require_own_folder(folder / ARM, second.identities[0])
    with pytest.raises(FolderTaken, match=ARM):
        require_own_folder(folder / ARM, first.identities[0])


def test_a_checkpoint_with_steps_behind_it_counts_as_a_result(folder: Path) -> None:
    first = reserve_folders(grid(folder), folder)
    checkpoint = RunFolder(folder / ARM / "seed0").checkpoint
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"steps")
    release_unused(first)
    assert places(place_arms(grid(folder, "training.steps=6"), folder)) == [f"{MORE_STEPS}/seed0"]
    assert places(place_arms(grid(folder), folder)) == [f"{ARM}/seed0"], "it is gone on with"


@pytest.mark.parametrize(("record", "place"), [("{}", f"{ARM}--2"), (None, ARM)])
def test_results_of_before_there_were_identities_are_recognised(
    folder: Path, record: str | None, place: str
) -> None:
    """By config and the records of stages; records that say nothing are somebody else's."""
    from fp_lab.lab.config import to_yaml

    placed = reserve_folders(grid(folder), folder)
    finish(placed)
    (folder / ARM / ARM_FILE).unlink()
    run = RunFolder(folder / ARM / "seed0")
    run.config.write_text(to_yaml(placed.grid.arms[0].config))
    for stage in STAGES if record else ():
        run.done_file(stage).write_text('{"key": "of source code"}')
    assert places(place_arms(grid(folder), folder)) == [f"{place}/seed0"]


def test_replacing_is_refused_where_it_would_mix_or_disturb(folder: Path) -> None:
    finish(reserve_folders(grid(folder, seeds="[0, 1]"), folder))
    with pytest.raises(ValueError, match="seed1 too"):
        reserve_folders(grid(folder, "training.steps=6"), folder, in_place=True)
    whole = grid(folder, "training.steps=6", seeds="[0, 1]")
    with (
        only_one(RunFolder(folder / ARM / "seed1").lock),
        pytest.raises(ValueError, match=r"--replace: .*\bprocess .*/seed1\b"),
    ):
        reserve_folders(whole, folder, in_place=True)
    replacing = reserve_folders(whole, folder, in_place=True)
    assert places(replacing) == [f"{ARM}/seed0", f"{ARM}/seed1"]
    assert "replace them" in replacing.lines[0]


def test_stages_are_asked_for_anew_once(folder: Path) -> None:
    """Interrupted, the command without --redo goes on with what is asked for anew."""
    first = reserve_folders(grid(folder), folder)
    finish(first)
    again = reserve_folders(grid(folder), folder, redo=True)
    run = RunFolder(folder / ARM / "seed0")
    assert places(again) == places(first)
    assert not any(run.is_done(stage, getattr(again.keys[0], stage)) for stage in STAGES)
    finish(again, ["train"])
    assert place_arms(grid(folder), folder).keys == again.keys
    assert again.keys[0].truth == first.keys[0].truth


def test_other_sampling_knows_where_a_model_is_that_was_trained_in_the_same_way(folder: Path) -> None:
    finish(reserve_folders(grid(folder), folder))
    finish(reserve_folders(grid(folder, "training.steps=6"), folder))
    sampled = place_arms(grid(folder, "sampling.guidance=2.0"), folder)
    assert sampled.trained == ((folder / ARM / "seed0",),)


def test_arms_of_one_grid_do_not_take_each_others_folders(folder: Path) -> None:
    """An arm of the grid is named like what would go beside another one."""
    finish(reserve_folders(grid(folder), folder))
    axis = grid(folder, arms="{training.steps: 6}, {training.steps: 4}")
    assert places(place_arms(axis, folder)) == [f"{MORE_STEPS}/seed0", f"{ARM}--training.steps=4/seed0"]


def test_a_label_names_a_folder_once_and_runs_of_earlier_versions_stay_where_they_are(folder: Path) -> None:
    arms = "{label: mine, training.steps: 6}"
    labelled = grid(folder, arms=arms)
    former = "mine--label=mine--training.steps=6"
    assert places(place_arms(labelled, folder)) == ["mine--training.steps=6/seed0"]
    stored = reserve_folders(replace(labelled, arms=(replace(labelled.arms[0], name=former),)), folder)
    finish(stored)
    again = place_arms(labelled, folder)
    assert places(again) == [f"{former}/seed0"]
    assert again.keys == stored.keys
    assert again.reported == folder
    assert not again.lines
    sampled = place_arms(
        grid(folder, "sampling.guidance=2.0", arms="{label: mine, training.steps: 6}"), folder
    )
    assert sampled.trained == ((folder / former / "seed0",),)


def test_what_an_arm_depends_on_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run of a thousand arms spends its time there; another seed has another training, hence twice."""
    asked = grid(folder, arms="{training.steps: 1}, {training.steps: 2}", seeds="[0, 1]")
    counted: list[int] = []
    real = keys_module.stage_keys

    def counting(config: ExperimentConfig, inputs: Inputs) -> keys_module.StageKeys:
        counted.append(config.seed)
        return real(config, inputs)

    for module in (placement, identity):
        monkeypatch.setattr(module, "stage_keys", counting)
    placed = place_arms(asked, folder)
    assert sorted(counted) == [0, 0, 0, 0, 1, 1]
    assert list(placed.keys) == [real(arm.config) for arm in asked.arms]
    first, second = placed.identities[:2]
    assert first == second, "seeds of one arm share a folder"
