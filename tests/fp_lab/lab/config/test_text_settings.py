"""Text settings take text as it is typed, in files and on the command line, by the types of their fields."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fp_lab.lab.config import ExperimentConfig, load, load_settings, to_yaml
from fp_lab.lab.training.pretrain import PretrainConfig

TYPED = [
    *("low quality # noise", "no", "yes", "on", "null", "~", "None", "16:9", "1e3", "007", "1_000", "0x1F"),
    *(
        "2024-05-01",
        "[bad], ugly",
        '"quoted", x',
        "'",
        "@bad",
        "*bad*",
        "&a b",
        "!tag",
        "%",
        "ugly: blurry",
        "",
    ),
    *("{a: 1}", "- x", "a\nb", " x ", "${oc.env:HOME}", "${", r"\${x}", "???", "a=b", ".inf", "= 犬"),
]
ENDLESS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in pairwise("abcdefgh")
)
PLAIN = [
    "no",
    "yes",
    "on",
    "None",
    "16:9",
    "1e3",
    "007",
    "1_000",
    "0x1F",
    "2024-05-01",
    "???",
    "${oc.env:HOME}",
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", TYPED)
def test_text_is_taken_as_it_is_typed(tmp_path: Path, text: str) -> None:
    config = load("base", [f"sampling.negative_prompt={text}", f"data.clips.folder={text}", f"label={text}"])
    assert (config.sampling.negative_prompt, config.data.clips.folder) == (text, text)
    assert config.label == (None if text == "null" else text)
    assert load(write(tmp_path / "again.yaml", to_yaml(config))) == config


@settings(max_examples=30)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_a_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    config = ExperimentConfig("g9", label=text)
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_bytes(to_yaml(config).encode())
    assert load(path) == config
    assert yaml.safe_load(path.read_bytes())["label"] == text, "for other readers of YAML too"


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_scalar_of_a_file_is_kept_as_written(tmp_path: Path, text: str) -> None:
    path = write(
        tmp_path / "plain.yaml",
        f"base: base\nlabel: {text}\nsampling:\n  negative_prompt: {text}\ndata.cache: {text}\n"
        f"evaluation:\n  families:\n    - {text}\n",
    )
    config = load(path)
    assert (config.label, config.sampling.negative_prompt, config.data.cache) == (text, text, text)
    assert config.evaluation.families == (text,)


def test_null_is_a_value_of_optional_text_only(tmp_path: Path) -> None:
    path = write(
        tmp_path / "null.yaml", "base: base\nlabel:\nmodel.base: null\nsampling: {negative_prompt: null}\n"
    )
    config = load(path)
    assert (config.label, config.model.base, config.sampling.negative_prompt) == (None, None, "null")
    assert load(path, ["model.base=None"]).model.base == "None"


def test_text_of_other_settings_than_an_experiment_is_kept_too() -> None:
    assert load_settings(PretrainConfig, "pretrain/base", ["start=models/wan #2"]).start == "models/wan #2"


def test_numbers_and_switches_are_read_as_yaml(tmp_path: Path) -> None:
    path = write(
        tmp_path / "numbers.yaml", "base: base\ntraining: {steps: 010}\nevaluation.perceptual: yes\n"
    )
    config = load(
        path, ["optimizer.learning_rate=1e-4", "data.train_videos=1_000", "optimizer.betas=[.5, 1e-1]"]
    )
    assert (config.training.steps, config.evaluation.perceptual) == (10, True)
    assert (config.optimizer.learning_rate, config.data.train_videos) == (1e-4, 1000)
    assert config.optimizer.betas == (0.5, 0.1)


@pytest.mark.parametrize("value", ["plain", "plain,probe", "{plain: 1}", "null"])
def test_a_list_of_texts_is_not_taken_letter_by_letter(value: str) -> None:
    with pytest.raises(ValueError, match=r"^command line: evaluation\.families: got .*, expected"):
        load("base", [f"evaluation.families={value}"])


@pytest.mark.parametrize("text", ["16:9", "${oc.env:HOME}", "???", "yes", "[1", "[" * 5000, "2024-05-01"])
def test_what_is_no_number_is_refused_by_its_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"^command line: training\.steps: got .*\b(int|read)\b"):
        load("base", [f"training.steps={text}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  steps: many\n", r"training\.steps: got 'many' \(str\), expected int \(line 3\)$"),
        ("training:\n  stesp: 3\n",
         r"'training\.stesp'.* training\.steps\? \(line 3\)$"),
        ("training.steps: 3\ntraining: {steps: 4}\n", r"training\.steps: got 3 and 4; expected"),
        ("training: null\ntraining.steps: 4\n",
         r"training\.steps: got 4, .*\btraining .*None; expected"),
        ("seed: 1\nseed: 2\n", r"YAML: line 3, column 1: .*\bseed\b.* twice$"),
        ("seed: [1\n", r"YAML: line 3, column 1: "),
        ("seed: " + "[" * 5000, r"YAML: .*\bnested\b"),
        ("? [a]\n: 1\n", r"YAML: line 2, column 3: expected .*\bkey$"),
(ENDLESS, r"YAML: .*\bmany\b"),
        ("seed: !!python/object/apply:os.getcwd []\n",
         r"YAML: line 2, column 7: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_its_key_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "wrong.yaml", f"base: base\n{text}")
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["seed: 1\n".encode("utf-16"), b"label: caf\xe9\n", b"label: a\x00b\n", b"# none\n"]
)
def test_a_file_that_is_no_yaml_text_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"YAML|empty") as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_adapters_are_merged_key_by_key(tmp_path: Path) -> None:
    path = write(tmp_path / "lora.yaml", "base: base\nmodel: {lora: {rank: 8, alpha: 4}}\n")
    lora = load(path, ["model.lora.rank=2"]).model.lora
    assert lora is not None
    assert (lora.rank, lora.alpha) == (2, 4)
    assert load(path, ["model.lora=null"]).model.lora is None
    assert load("base", ["model.lora={}"]).model.lora is not None


@pytest.mark.parametrize(
    ("overrides", "rank"),
    [
        (["model.lora.rank=3", "model.lora=null"], None),
        (["model.lora=null", "model.lora.rank=3"], 3),
        (["model.lora={rank: 3}", "model.lora.alpha=1"], 3),
        (["model.lora.rank=3", "model.lora.rank=4"], 4),
    ],
)
def test_of_the_command_line_what_comes_later_counts(overrides: list[str], rank: int | None) -> None:
    lora = load("base", overrides).model.lora
    assert (None if lora is None else lora.rank) == rank
