"""Grid files: keys dotted and nested, values however written, and what is refused by its file and key."""

from pathlib import Path

import pytest

from fp_lab.lab.grids.grid import load_grid

TWO_BY_TWO = "axes: {optimizer.learning_rate: [1e-4, 1e-3], recipe: [g9, td_f16k4f2k2f1k1_g9]}\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "common",
    ["{training.batch: 4, training: {steps: 2}}", "{training: {steps: 2}, training.batch: 4}"],
)
def test_dotted_and_nested_keys_are_the_same_in_any_order(tmp_path: Path, common: str) -> None:
    (arm,) = load_grid(write(tmp_path / "both.yaml", f"common: {common}\narms: [{{recipe: g9}}]\n")).arms
    assert (arm.config.training.batch, arm.config.training.steps) == (4, 2)


@pytest.mark.parametrize(
    "entry",
    [
        "{optimizer.learning_rate: 1e-4, recipe: g9}",
        "{optimizer.learning_rate: '1e-4', recipe: g9}",
        "{optimizer.learning_rate: .0001, recipe: g9}",
        "{optimizer: {learning_rate: 1e-4}, recipe: g9}",
    ],
)
def test_an_excluded_arm_is_left_out_however_it_is_written(tmp_path: Path, entry: str) -> None:
    grid = load_grid(write(tmp_path / "less.yaml", f"{TWO_BY_TWO}exclude: [{entry}]\n"))
    found = {(arm.config.optimizer.learning_rate, arm.config.recipe) for arm in grid.arms}
    assert found == {(1e-4, "td_f16k4f2k2f1k1_g9"), (1e-3, "g9"), (1e-3, "td_f16k4f2k2f1k1_g9")}


@pytest.mark.parametrize(
    "axis", ['optimizer.learning_rate: [1e-4, "1e-3", .001]', "optimizer: {learning_rate: [1e-4, 1e-3]}"]
)
def test_one_value_makes_one_arm_however_it_is_written(tmp_path: Path, axis: str) -> None:
    grid = load_grid(write(tmp_path / "rates.yaml", f"axes: {{{axis}}}\n"))
    assert [arm.config.optimizer.learning_rate for arm in grid.arms] == [1e-4, 1e-3]


@pytest.mark.parametrize("label", ["16:9", "1e3", "on", "007", "1_000", "2024-05-01", "${oc.env:HOME}"])
def test_a_label_is_kept_as_it_is_written(tmp_path: Path, label: str) -> None:
    grid = load_grid(write(tmp_path / "labels.yaml", f"arms: [{{recipe: g9, label: '{label}'}}]\n"))
    plain = load_grid(write(tmp_path / "plain.yaml", f"arms:\n  - recipe: g9\n    label: {label}\n"))
    assert grid.arms[0].config.label == plain.arms[0].config.label == label


def test_a_name_fits_a_folder_by_its_bytes(tmp_path: Path) -> None:
    label = "犬が走る" * 60
    (arm,) = load_grid(write(tmp_path / "long.yaml", f"arms: [{{recipe: g9, label: {label}}}]\n")).arms
    assert len(arm.name.encode()) <= 160
    assert arm.config.label == label
    (tmp_path / f"{arm.name}--2.partial").mkdir()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{TWO_BY_TWO}exclude:\n  - {{optimizer.learning_rat: 1e-4}}\n",
         r"exclude\.0\.optimizer\.learning_rat: got 0\.0001, .* optimizer\.learning_rate\? \(line 3\)"),
        (f"{TWO_BY_TWO}exclude: [{{recipe: g8}}]\n",
         r"exclude\.0\.recipe: got 'g8', expected .*g9"),
        (f"{TWO_BY_TWO}exclude: [recipe]\n",
         r"exclude\.0: got 'recipe', expected .*\(line 2\)$"),
        (f"{TWO_BY_TWO}exclude: {{recipe: g9}}\n", r"exclude: got \{'recipe': 'g9'\}, expected .*\blist\b"),
        (f"{TWO_BY_TWO}exclude: [{{}}]\n", r"exclude\.0: got \{\}, expected .*\bkeys\b"),
        ("arms: [{recipe: g9}]\nexclude: [{recipe: g9}]\n",
         r"exclude\.0\.recipe: got 'g9', expected .*\bkey\b"),
        ("axes: {recipe: [g9]}\nexclude: [{recipe: g9}]\n", r"exclude: .*\bleft\b"),
        ("common: {training: null, training.steps: 2}\narms: [{recipe: g9}]\n",
         r"common: training\.steps: got 2, .*\btraining .*None\b"),
        ("common:\n  training: 3\n", r"common: training: got 3, expected .* \(line 2\)"),
        ("axes: {training: [1], training.steps: [9]}\n", r"training\.steps: got 9, .*\btraining .*\b1\b"),
        ("axes: {training.steps: [1], training: {steps: [2]}}\n",
         r"axes\.training\.steps: got \[2\], expected one\b"),
        ("axes: {training.steps: 3}\n", r"axes\.training\.steps: got 3, expected .*\blist\b"),
        ("axes: {training.steps: []}\n", r"axes\.training\.steps: got \[\], expected .*\blist\b"),
        ("arms:\n  - {recipe: g9}\n  - g9\n", r"arms\.1: got 'g9', expected .*\bkeys\b"),
        ("arms:\n  - recipe: g9\n    training.stesp: 3\n", r"'training\.stesp'.*\.steps\? \(line 3\)"),
        ("seeds: [null]\n", r"seeds: got \[None\], expected .*\bwhole\b"),
        ("armes: [{recipe: g9}]\n", r"'armes'.* arms\?.* \(line 1\)"),
        ("", r"\bempty, expected "),
        ("name: ../../escaped\n", r"name: got '\.\./\.\./escaped', .*\bpath\b"),
        ("name: /absolute/escaped\n", r"name: got '/absolute/escaped', .*\bpath\b"),
        ("name: ..\n", r"name: got '\.\.', .*\bpath\b"),
        ("name: ''\n", r"name: got '', nothing"),
        ("name: ' '\n", r"name: got ' ', nothing"),
        ("name: cache\n", r"name: got 'cache', .*\bneeds\b"),
        ("name: MLflow.db\n", r"name: got 'MLflow\.db', .*\bneeds\b"),
        ("name: mlflow.db-journal\n", r"name: got 'mlflow\.db-journal', .*\bneeds\b"),
        ('name: "a\\eb"\n', r"name: got 'a\\x1bb', .*\bprinted\b"),
        ("base: wrong\narms: [{recipe: g9}]\n", r"base: got wrong, .*\bitself\b"),
        ("bse: base\n", r"'bse'.* base\? Settings"),
        ("common:\n  compression: nope\narms: [{order: vanilla}]\n",
         r"common: compression: got 'nope', expected .*, released, .* \(line 2\)"),
        ("common: {order: vanilla, compression: released}\naxes:\n  section: [9, 0]\n",
         r"arm \{'section': 0\}: section: got 0, expected .* \(line 3\)"),
        ("arms:\n  - {recipe: g9}\n  - compression: released\n    order: inverse\n",
         r"order: got 'inverse', .* 'inverted'\? \(line 4\)"),
        ("arms:\n  - recipe: g9\n    order: inverted\n", r"order: got 'inverted', .*'none'; .* \(line 3\)"),
        ("arms:\n  - tail: ta\n    sink: -1\n    compression: released\n    order: vanilla\n",
         r"sink: got -1, expected .* 0 .* \(line 3\)"),
        ("arms:\n  - baseline: anchor_frams\n", r"baseline: got 'anchor_frams', .* \(line 2\)"),
        ("common: {label: ..}\n", r"common: label: got '\.\.', .*\bpath\b"),
        ("common: {label: report}\n", r"common: label: got 'report', .*\bneeds\b"),
        ("common: {label: report.done.json}\n", r"label: got 'report\.done\.json', .*\bneeds\b"),
        ("common: {label: track}\n", r"label: got 'track', .*\bneeds\b"),
        ("common: {label: .arms.lock}\n", r"label: got '\.arms\.lock', .*\bhidden\b"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_meant_names_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "wrong.yaml", text)
    with pytest.raises(ValueError, match=message) as caught:
        load_grid(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arm",
    ["recipe: g9x9", "{baseline: no_history, like: g9x9}", "{recipe: g9, training.compute_of: g9x9}"],
)
def test_a_recipe_that_cannot_be_read_names_its_file_and_line_and_keeps_its_caret(
    tmp_path: Path, arm: str
) -> None:
    path = write(tmp_path / "wrong.yaml", f"arms:\n  - recipe: g9\n  - {arm}\n")
    with pytest.raises(ValueError, match=r"recipe 'g9x9': got 'x' .*\b2\b") as caught:
        load_grid(path)
    first, name, caret = str(caught.value).split("\n")
    assert first.startswith(f"{path}: arm ")
    assert first.endswith(" (line 3)")
    assert (name, caret) == ("  g9x9", "    ^")


def test_a_name_of_the_command_line_is_one_folder_too() -> None:
    with pytest.raises(ValueError, match=r"^command line: name: got '\.\./x', .*\bpath\b"):
        load_grid("drift", ["name=../x"])
