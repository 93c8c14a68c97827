from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fp_lab.codecs.tiny import CodecConfig
from fp_lab.lab.config import ExperimentConfig, load, plain_settings, to_yaml
from fp_lab.lab.config.conversion import build_settings
from fp_lab.lab.config.field_types import field_types, settings_class
from fp_lab.lab.files.experiments import available_experiments, experiments_folder
from fp_lab.lab.training.pretrain import PretrainConfig
from fp_lab.lab.training.train_codec import CodecRunConfig

GEOMETRIC_INVERTED = "f1k1_x_g9_f1k1f1k1h4w2f1k1h4w4f1k1h8w4f2k1h8w8_td"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_experiment_loads_and_survives_a_round_trip(tmp_path: Path) -> None:
    files = [name for name in available_experiments() if not name.startswith(("grids/", "pretrain/"))]
    assert "base.yaml" in files
    for name in files:
        config = load(name, ["training.steps=7", "model.base=null", "optimizer.betas=[0.5, 0.75]"])
        assert config.training.steps == 7
        assert config.optimizer.betas == (0.5, 0.75)
        assert config.model.base is None
        assert plain_settings(config) == asdict(config)
        assert load(write(tmp_path / "again.yaml", to_yaml(config))) == config


def test_files_lie_on_top_of_their_bases_and_overrides_on_top_of_files(tmp_path: Path) -> None:
    write(tmp_path / "low.yaml", "base: base\nrecipe: g9\nseed: 1\ntraining: {steps: 10, batch: 4}\n")
    top = write(tmp_path / "top.yaml", "base: low\nseed: 2\ntraining: {steps: 20}\n")
    config = load(top, ["training.steps=30"])
    assert (config.seed, config.training.batch, config.training.steps) == (2, 4, 30)
    assert config.training.ema == load("base").training.ema


def test_a_chain_that_comes_back_to_itself_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.yaml", "base: two\nrecipe: g9\n")
    with pytest.raises(ValueError, match=r"/two\.yaml: .*/two\.yaml"):
        load(write(tmp_path / "two.yaml", "base: one\n"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.stesp=3", r"'training\.stesp'.* training\.steps\b"),
        ("trainig.steps=3", r"'trainig\.steps'.* training\.steps\b"),
        ("steps=3", r"'steps'.* training\.steps or sampling\.solver\.steps"),
        (
            "model.guidance=10",
            r"'model\.guidance'.* objective\.distilled_guidance .* sampling\.distilled_guidance",
        ),
        ("ordr=vanilla", r"'ordr'.* order\b"),
        ("training.steps=many", r"training.steps: got 'many' \(str\), expected int"),
        ("training.steps=1.5", r"training.steps: got 1.5 \(float\), expected int"),
        ("training=3", r"training: got 3, expected .*\bsteps, batch"),
        (
            "optimizer.betas=[1,2,3]",
            r"optimizer.betas: got \[1, 2, 3\] \(list\), expected tuple\[float, float\]",
        ),
        ("data.kind=films", r"data.kind: got 'films' \(str\), expected Literal\['world', 'clips'\]"),
        ("training.precision=16-mixed", r"training.precision: got '16-mixed' .*'32-true', 'bf16-mixed'"),
        ("section=nine", r"section: got 'nine' \(str\), expected int"),
        ("training.steps", r"got 'training.steps', expected key=value"),
        ("data.first_seed=9999", r"data.first_seed: got 9999, expected .*\[10000, "),
        ("evaluation.first_seed=9990", r"evaluation\.first_seed.* 10005, expected .*\b10000\b"),
        ("data.train_videos=4", r"training.batch: got 8, expected .*data.train_videos \(4\)"),
        ("data.world.size=20", r"command line: data.world: .*\b8\b.* 20\b"),
        ("optimizer.learning_rate=.nan", r"command line: optimizer.learning_rate: got nan, expected finite"),
        ("optimizer.weight_decay=.inf", r"command line: optimizer.weight_decay: got inf, expected finite"),
        ("optimizer.betas=[0.9, .nan]", r"command line: optimizer.betas: .*nan.*, expected finite"),
        ("sampling.guidance=-.inf", r"command line: sampling.guidance: got -inf, expected finite"),
        ("model.lora.dropout=nan", r"command line: model.lora.dropout: got nan, expected finite"),
        ("objective.history.noise=3", r"command line: objective.history.noise: got 3.0, expected"),
        ("data.clips.zoom=0.5", r"command line: data.clips: got zoom=0.5, expected 1\b"),
        ("model.lora.rank=0", r"command line: model.lora.rank: got 0, expected .*\b1$"),
        ("optimizer.warmup=-5", r"command line: optimizer.warmup: got -5, expected .*\b0$"),
        ("optimizer.learning_rate=-1", r"optimizer.learning_rate: got -1.0, expected .*\b0$"),
        ("optimizer.betas=[0.9, 1.0]", r"optimizer.betas: got 1.0, expected .*\[0, 1\)"),
        ("training.gradient_clip=-1", r"training.gradient_clip: got -1.0, expected .*\b0$"),
        ("training.threads=0", r"training.threads: got 0, expected .*\[1, 1024\]"),
        ("training.threads=1000000", r"training.threads: got 1000000, expected .*\[1, 1024\]"),
        ("training.ema=1", r"training.ema: got 1.0, expected .*\[0, 1\)"),
        ("evaluation.strips=-1", r"evaluation.strips: got -1, expected .*\b0$"),
        ("evaluation.fps=0", r"evaluation.fps: got 0.0, expected .*\[0\.01, 1000\]"),
        ("evaluation.fps=1e-300", r"evaluation.fps: got 1e-300, expected .*\[0\.01, 1000\]"),
        ("evaluation.families=[plain, world, plain]", r"evaluation.families: got plain 2 times, expected it"),
        ("training.steps=1" + 20 * "0", r"command line: training.steps: got 10{20}, expected .*\b10{9}$"),
        ("sampling.solver.steps=9999999999", r"sampling.solver.steps: got 9+, expected .*\b10{9}$"),
        ("evaluation.families=[]", r"command line: evaluation.families: got none"),
        ("sampling.solver.steps=0", r"sampling.solver.steps: got 0, expected .*\b1$"),
        ("sampling.rescale=2", r"sampling.rescale: got 2.0, expected .*\[0, 1\]"),
        ("objective.caption_dropout=2", r"objective.caption_dropout: got 2.0, expected .*\[0, 1\]"),
        ("model.backbone.depth=0", r"model.backbone.depth: got 0, expected .*\b1$"),
        ("model.backbone.theta=0", r"model.backbone.theta: got 0.0, expected .*\b0$"),
        ("seed=-1", r"command line: seed: got -1, expected .*\[0, 4294967295\]"),
        ("seed=99999999999999999999", r"command line: seed: got 9+, expected .*\[0, 4294967295\]"),
        ("context.attention=isolated", r"command line: context.timestep: got 'same'"),
        ("recipe=td_f16k4f2q2_g9", r"got 'q'"),
    ],
)
def test_what_cannot_be_meant_is_said(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("base", [override])


def counts_of(kind: type, path: str = "") -> Iterator[tuple[str, int | tuple[int, ...]]]:
    """Settings that are counts, the seeds left out, with a number beyond a thousand million for each."""
    for name, hint in field_types(kind).items():
        key = f"{path}.{name}".removeprefix(".")
        if inner := settings_class(hint):
            yield from counts_of(inner, key)
        elif int in (hint, *get_args(hint)) and "seed" not in name:
            sides = len(getattr(kind(), name)) if hint == tuple[int, ...] and kind is CodecConfig else 1
            yield key, (10**9 + 8,) * sides if get_origin(hint) is tuple else 10**9 + 8


@pytest.mark.parametrize("kind", [ExperimentConfig, PretrainConfig, CodecRunConfig])
def test_no_count_goes_beyond_a_thousand_million(kind: type) -> None:
    found = [(key, value) for key, value in counts_of(kind) if key != "videos"]
    assert len(found) > 12
    for key, value in found:
        settings: Any = value
        for name in reversed(key.split(".")):
            settings = {name: settings}
        with pytest.raises(ValueError, match="1000000008"):
            build_settings(kind, {**settings, **({"recipe": "g9"} if kind is ExperimentConfig else {})})


def test_a_value_out_of_range_names_the_file_that_has_set_it_last(tmp_path: Path) -> None:
    one = write(tmp_path / "one.yaml", "base: base\noptimizer: {learning_rate: .inf}\n")
    two = write(tmp_path / "two.yaml", "base: one\nobjective: {history: {noise: -1.0}}\n")
    with pytest.raises(ValueError, match=f"^{one}: optimizer.learning_rate: got inf"):
        load(one, ["training.steps=3"])
    with pytest.raises(ValueError, match=f"^{two}: objective.history.noise: got -1.0"):
        load(two, ["optimizer.learning_rate=0.1", "objective.history.clean=0.5"])


def test_a_missing_file_lists_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"bsae.* base\.yaml\?") as caught:
        load("bsae")
    assert "grids/table1.yaml" in str(caught.value)
    assert (experiments_folder() / "grids" / "table1.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nope", r"\bnope\. "),
        ("tabel1", r"\btabel1; .* grids/table1\.yaml\?"),
        ("experiments/grids/drifft.yaml", r"drifft\.yaml.* grids/drift\.yaml\?"),
    ],
)
def test_a_name_is_held_against_names_not_endings(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        load(name)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["order=inverted", "compression=geometric"], GEOMETRIC_INVERTED),
        (["section=5", "tail=null"], "f16k4f2k2f1k1_g5"),
        (["recipe=g9"], "g9"),
        (["order=none"], "g9"),
        (["recipe=td_f16k4f2k2f1k1_g9", "compression=released", "order=vanilla"], "td_f16k4f2k2f1k1_g9"),
        (["compression=important_start"], "f1k1_x_f16k4f2k2f1k1_g9"),
        (["recipe=f1k1_x_f16k4f2k2f1k1_g9", "compression=important_start"], "f1k1_x_f16k4f2k2f1k1_g9"),
        (["recipe=f1k1_x_f16k4f2k2f1k1_g9", "compression=released", "sink=1"], "f1k1_x_f16k4f2k2f1k1_g9"),
        (["recipe=f1k1f2k2_x_f4k4f2k2f1k1_g9", "sink=0"], "f1k1f2k2_x_f4k4f2k2f1k1_g9"),
    ],
)
def test_recipe_and_parts_resolve_to_one_name(overrides: list[str], name: str) -> None:
    assert load("base", overrides).recipe == name


def test_later_parts_replace_an_earlier_recipe_only_when_they_say_enough(tmp_path: Path) -> None:
    named = write(tmp_path / "named.yaml", "recipe: g9\n")
    assert load(named, ["compression=released", "order=vanilla"]).recipe == "td_f16k4f2k2f1k1_g9"
    with pytest.raises(
        ValueError, match=r"command line: order: got order=inverted, expected recipe=NAME .*\bcompression\b"
    ):
        load(named, ["order=inverted"])


@pytest.mark.parametrize(
    "part", ["order=inverted", "section=5", "tail=ta", "codebook=64", "compression=temporal"]
)
def test_a_recipe_and_parts_that_differ_are_refused_in_one_place(part: str) -> None:
    key, value = part.split("=")
    with pytest.raises(ValueError, match=rf"{key}: got '?{value}'?, .*\brecipe td_f16k4f2k2f1k1_g9\b"):
        load("base", ["recipe=td_f16k4f2k2f1k1_g9", part])


@settings(max_examples=10)
@given(
    steps=st.integers(1, 10**6),
    rate=st.floats(1e-9, 1, allow_nan=False),
    kind=st.sampled_from(["world", "clips"]),
    families=st.lists(st.sampled_from(["plain", "world"]), min_size=1, max_size=2, unique=True),
)
def test_any_values_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, steps: int, rate: float, kind: str, families: list[str]
) -> None:
    overrides = [f"training.steps={steps}", f"optimizer.learning_rate={rate!r}", f"data.kind={kind}"]
    config = load("base", [*overrides, f"evaluation.families=[{','.join(families)}]"])
    assert config.optimizer.learning_rate == rate
    path = write(tmp_path_factory.getbasetemp() / "any.yaml", to_yaml(config))
    assert load(path) == config


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["source=rollout", "recipe=g9"], r"history\.source: got 'rollout' with recipe g9"),
        (["source=augmented", "recipe=g9"], r"history\.source: got 'augmented' with recipe g9"),
        (["source=recycled", "training.devices=2"], r"history\.source: got 'recycled'.* expected 1"),
        (
            ["source=resampled", "training.devices=2", "training.strategy=fsdp"],
            r"training\.strategy: got 'fsdp' .*'resampled', expected ddp",
        ),
        (
            ["source=rollout", "recipe=td_f18k1_g9", "context.attention=block_causal"],
            r"history\.source: got 'rollout' with context\.attention 'block_causal', expected 'true'",
        ),
    ],
)
def test_a_source_of_histories_is_refused_where_it_can_do_nothing_or_not_all(
    settings: list[str], named: str
) -> None:
    source, *others = settings
    with pytest.raises(ValueError, match=named):
        load("base", [f"objective.history.{source}", *others])
    load("base", ["objective.history.source=true", *others])


def test_resampling_is_shared_by_devices_that_hold_the_whole_model() -> None:
    load("base", ["objective.history.source=resampled", "training.devices=2"])
    load("base", ["objective.history.source=resampled", "training.strategy=fsdp"])  # of one device: unused


def test_a_config_can_be_made_without_any_file() -> None:
    assert ExperimentConfig(recipe="g9").parsed_recipe.section == 9


def test_a_switch_of_sampling_that_can_do_nothing_is_refused_before_a_training() -> None:
    with pytest.raises(ValueError, match=r"sampling\.recency: got .*recipe g9, which has no history"):
        load("base", ["recipe=g9", "sampling.recency.beta=0.1"])
    with pytest.raises(ValueError, match=r"sampling\.recency\.gamma: got 0"):
        load("base", ["recipe=td_f4k2f1k1_g9", "sampling.recency.gamma=0"])
    assert load("base", ["recipe=td_f4k2f1k1_g9", "sampling.recency.beta=0.1"]).sampling.recency.beta == 0.1
