"""Videos on demand: from nothing but text, from a picture, from a clip; interrupted and continued."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from fp_data.buckets import Bucket
from fp_data.clips import probe, write_mp4
from fp_lab.codecs.video import pixel_frames
from fp_lab.conditions.encoders import load_encoders
from fp_lab.lab.config import load
from fp_lab.lab.encoding import conditions, text_embeddings
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import codec_of
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling import generate as making
from fp_lab.lab.sampling.load_model import LoadedModel, load_model
from fp_lab.lab.sampling.offload import Offload
from fp_lab.lab.sampling.openings import (
    Opening,
    Script,
    frames_to_extend,
    opening_from_image,
    opening_from_text,
    opening_from_video,
    script_of,
    size_of,
)
from fp_lab.lab.sampling.resume import KeptSections
from fp_lab.model import FramePackModel
from fp_lab.sampling.history_latents import AdaptiveConfig
from fp_lab.sampling.recency import RecencyConfig
from real_arms import FRAMES, LATENTS, real_config

SIZE = Bucket(32, 64)
SHAPE = (32, 64, 3)
CLIP = 40
"""Frames of the clip that is extended, 32 per second: every second one is read, at 16."""
ARMS = {
    "framepack": ("framepack", "recipe=f1k1_x_g3_f1k1f2k2_td", "objective.given=[1, 3]"),
    "wan": ("wan", "recipe=td_f2k2f1k1_g3", "objective.given=[0, 1]"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two trained arms, a picture and a clip."""
    root = tmp_path_factory.mktemp("generate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FP_LAB_CACHE", str(root / "fp_lab_cache"))
        for name, (family, *settings) in ARMS.items():
            config = real_config(family, root, tuple(settings))  # type: ignore[arg-type]
            run(
                root / name / "run",
                config,
                Materials(root / "cache", Reporter()),
                Reporter(),
                stages=("train",),
            )
        random = np.random.default_rng(0)
        write_mp4(root / "picture.mp4", [random.integers(0, 256, (48, 64, 3), dtype=np.uint8)], 16)
        moving = [np.full(SHAPE, 6 * frame, dtype=np.uint8) for frame in range(CLIP)]
        write_mp4(root / "clip.mp4", moving, 32)
        yield root


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is written, before H.264."""
    files: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        making, "write_mp4", lambda path, frames, fps: files.append((path.name, np.array(list(frames))))
    )
    return files


def arm(folder: Path, name: str) -> LoadedModel:
    return load_model(str(folder / name / "run"))


def video(
    loaded: LoadedModel, opening: Opening, out: Path, frames: int = LATENTS, seed: int = 0, **options: Any
) -> list[making.Progressed]:
    return list(making.generate(loaded.model, loaded.config, opening, frames, seed, out, **options))


@pytest.mark.parametrize("name", list(ARMS))
def test_from_an_image_and_a_prompt(
    name: str, folder: Path, tmp_path: Path, written: list[tuple[str, Any]]
) -> None:
    loaded = arm(folder, name)
    codec = codec_of(loaded.config.codec)
    assert making.length_of(loaded.config, codec, 1, 1.5) == LATENTS
    made = {}
    for file, prompt in {"a": "a dog", "again": "a dog", "b": "a ball rolls"}.items():
        opening = opening_from_image(folder / "picture.mp4", SIZE, Script((prompt,)))
        done = video(arm(folder, name), opening, tmp_path / f"{file}.mp4", preview=True)
        assert done == [making.Progressed(1, 2), making.Progressed(2, 2)]
        assert [kind for kind, _ in written] == [f"{file}.preview.mp4"] * 2 + [f"{file}.mp4"]
        first = {"framepack": 1 + 9, "wan": 13}[name]
        assert [len(shown) for _, shown in written] == [first, FRAMES, FRAMES], "a section at the end has 9"
        made[file] = written[-1][1]
        assert made[file].shape == (FRAMES, *SHAPE)
        written.clear()
    np.testing.assert_array_equal(made["a"], made["again"])
    assert (made["a"] != made["b"]).any()
    assert not list(tmp_path.glob("*.sections"))


def test_the_released_model_runs_in_the_types_of_its_authors(
    folder: Path, tmp_path: Path, written: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    types: dict[Any, torch.dtype] = {}

    def load(files: Any, dtype: torch.dtype, *arguments: Any, only: Any) -> Any:
        types[only] = dtype
        return load_encoders(files, dtype, *arguments, only=only)

    for module in (conditions, text_embeddings):
        monkeypatch.setattr(module, "load_encoders", load)
    pipeline = folder / "framepack"
    sources = [
        f"{key}={pipeline}" for key in ("model.base", "model.conditions", "model.images", "codec.source")
    ]
    loaded = load_model(None, None, "released/framepack", [*sources, "sampling.solver.steps=4"])
    codec = codec_of(loaded.config.codec)
    opening = opening_from_image(folder / "picture.mp4", SIZE, Script(("a dog",)))
    video(loaded, opening, tmp_path / "a.mp4", 10, codec=codec)
    # demo_gradio.py of lllyasviel/FramePack: torch.float16 for all but the transformer
    assert types == {"texts": torch.float16, "images": torch.float16}
    assert {value.dtype for value in codec.parameters()} == {torch.float16}
    assert {value.dtype for value in loaded.model.parameters()} == {torch.bfloat16}
    assert written[-1][1].shape == (37, *SHAPE)
    assert written[-1][1].std() > 5


@pytest.mark.parametrize(
    ("seconds", "given", "latents", "frames"),
    [(5, 1, 37, 145), (20, 1, 1 + 17 * 9, 1 + 17 * 36), (5, 0, 36, 141), (5, 6, 42, 165)],
)
def test_seconds_are_whole_sections(
    seconds: float, given: int, latents: int, frames: int, folder: Path
) -> None:
    config = load("released/framepack")
    codec = codec_of(arm(folder, "framepack").config.codec)
    length = making.length_of(config, codec, given, seconds)
    assert (length, pixel_frames(length, codec.temporal)) == (latents, frames), "at 30 frames per second"
    assert making.length_of(config, codec, given) == given + 7 * 9, "about 64 where nothing is said"
    assert making.length_of(config, codec, given, frames=20) == 19 + max(given, 1), "followed as it is"


def test_from_nothing_but_text(folder: Path, tmp_path: Path, written: list[tuple[str, Any]]) -> None:
    loaded = arm(folder, "wan")
    made = {}
    for prompt in ("a dog", "a ball rolls"):
        done = video(loaded, opening_from_text(SIZE, Script((prompt,))), tmp_path / "a.mp4")
        assert done[-1] == making.Progressed(3, 3), "the first frame is generated too"
        made[prompt] = written[-1][1]
    assert made["a dog"].shape == (FRAMES, *SHAPE)
    assert (made["a dog"][0] != made["a ball rolls"][0]).any()
    with pytest.raises(ValueError, match=r"got 50x64, expected .*\b8\b"):
        video(loaded, opening_from_text(Bucket(50, 64), Script(("a dog",))), tmp_path / "b.mp4")
    with pytest.raises(ValueError, match=r"\btext alone\b.*\bfirst\b"):
        video(arm(folder, "framepack"), opening_from_text(SIZE, Script(("a dog",))), tmp_path / "b.mp4")


@pytest.mark.parametrize("name", list(ARMS))
def test_from_the_end_of_a_clip(
    name: str, folder: Path, tmp_path: Path, written: list[tuple[str, Any]]
) -> None:
    loaded = arm(folder, name)
    codec = codec_of(loaded.config.codec)
    count = frames_to_extend(probe(folder / "clip.mp4"), loaded.config, codec)
    assert count == {"framepack": 1, "wan": 9}[name], "as much as the recipe packs before a section"
    opening = opening_from_video(probe(folder / "clip.mp4"), SIZE, Script(("on",)), frames=count, fps=16)
    given = 1 + (count - 1) // codec.temporal
    video(loaded, opening, tmp_path / "a.mp4", given + 3)
    (_, shown) = written[-1]
    read = [6 * frame for frame in range(1, CLIP, 2)]
    assert len(shown) == len(read) + 3 * codec.temporal
    before = len(read) - count
    np.testing.assert_allclose(shown[:before].mean((1, 2, 3)), read[:before], atol=2)
    written.clear()
    darker = Opening(opening.frames // 2, opening.captions, None, opening.earlier)
    video(loaded, darker, tmp_path / "a.mp4", given + 3)
    assert (written[-1][1][-1] != shown[-1]).any(), "it depends on how the clip ends"
    with pytest.raises(ValueError, match=r"clip\.mp4.*\b40 frames .*\b32 .*expected .*\b41, .*\b21 .*\b16\b"):
        opening_from_video(probe(folder / "clip.mp4"), SIZE, Script(("on",)), frames=21, fps=16)


def test_a_clips_own_frames_are_kept(folder: Path, tmp_path: Path, written: list[tuple[str, Any]]) -> None:
    loaded = arm(folder, "wan")
    opening = opening_from_video(probe(folder / "clip.mp4"), SIZE, Script(("on",)), frames=17, fps=16)
    video(loaded, opening, tmp_path / "a.mp4", 5 + 3)
    shown = written[-1][1]
    untouched = 3 + 1 + 4  # before the opening, and all but the section's length before what is added
    np.testing.assert_array_equal(shown[3:untouched], opening.frames[: untouched - 3])
    assert (shown[untouched:20] != opening.frames[untouched - 3 :].numpy()).any(), "faded into what is added"


def test_scenes_of_an_extension_begin_behind_the_clip(
    folder: Path, tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeptSections, "remove", lambda kept: None)
    loaded, made = arm(folder, "wan"), {}
    for name, captions, seconds in (("one", ("on",), None), ("two", ("on", "a ball rolls"), (0.0, 0.75))):
        script = Script(captions, seconds)
        opening = opening_from_video(probe(folder / "clip.mp4"), SIZE, script, frames=9, fps=16)
        video(loaded, opening, tmp_path / f"{name}.mp4", 3 + 6)
        files = sorted((tmp_path / f"{name}.sections").iterdir())
        made[name] = [load_file(file)["latents"] for file in files]
    assert torch.equal(made["one"][0], made["two"][0]), "0.75 s are three latent frames"
    assert not torch.equal(made["one"][1], made["two"][1])


def counted(model: FramePackModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    denoise = model.denoise

    def watched(*args: Any) -> Tensor:
        calls.append(1)
        return denoise(*args)

    monkeypatch.setattr(model, "denoise", watched)
    return calls


SWITCHED = {
    "rope_jitter": 0.8,
    "recency": RecencyConfig(0.5),
    "adaptive": AdaptiveConfig(0.5, mean=0.0, variance=0.0),
    "section_noise": "shared",
    "reencode": True,
    "positions": "relative",
}


def switched(folder: Path, **switches: Any) -> LoadedModel:
    loaded = arm(folder, "wan")
    sampling = replace(loaded.config.sampling, **switches)
    return replace(loaded, config=replace(loaded.config, sampling=sampling))


@pytest.mark.parametrize("switches", [{}, SWITCHED], ids=["plain", "switched"])
def test_an_interrupted_video_goes_on_where_it_was(
    switches: dict[str, Any],
    folder: Path,
    tmp_path: Path,
    written: list[tuple[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening = opening_from_text(SIZE, Script(("a dog",)))
    video(switched(folder, **switches), opening, tmp_path / "whole.mp4")
    whole = written[-1][1]
    loaded = switched(folder, **switches)
    calls = counted(loaded.model, monkeypatch)
    begun = making.generate(loaded.model, loaded.config, opening, LATENTS, 0, tmp_path / "a.mp4")
    next(begun), next(begun)
    begun.close()
    assert len(list((tmp_path / "a.sections").iterdir())) == 2
    assert not (tmp_path / "a.mp4").exists()
    calls.clear()
    video(loaded, opening, tmp_path / "a.mp4")
    assert len(calls) == loaded.config.sampling.solver.steps, "one section is left"
    np.testing.assert_array_equal(written[-1][1], whole)
    assert not (tmp_path / "a.sections").exists()


def test_sections_of_another_video_are_not_taken(folder: Path, tmp_path: Path, written: Any) -> None:
    opening = opening_from_text(SIZE, Script(("a dog",)))
    video(arm(folder, "wan"), opening, tmp_path / "one.mp4", seed=1)
    loaded = arm(folder, "wan")
    begun = making.generate(loaded.model, loaded.config, opening, LATENTS, 0, tmp_path / "a.mp4")
    next(begun)
    begun.close()
    assert list((tmp_path / "a.sections").iterdir())
    video(loaded, opening, tmp_path / "a.mp4", seed=1)
    np.testing.assert_array_equal(written[-1][1], written[0][1])


@pytest.mark.parametrize("offload", ["parts", "blocks"])
@pytest.mark.parametrize("name", list(ARMS))
def test_offloading_changes_nothing(
    name: str, offload: Offload, folder: Path, tmp_path: Path, written: list[tuple[str, Any]]
) -> None:
    opening = opening_from_image(folder / "picture.mp4", SIZE, Script(("a dog",)))
    video(arm(folder, name), opening, tmp_path / "a.mp4")
    loaded = arm(folder, name)
    for seed in (1, 0):
        video(loaded, opening, tmp_path / "b.mp4", seed=seed, offload=offload)
    np.testing.assert_array_equal(written[0][1], written[-1][1])


def test_a_codec_that_waits_its_turn_cannot_encode_again(folder: Path, tmp_path: Path) -> None:
    opening = opening_from_text(SIZE, Script(("a dog",)))
    with pytest.raises(ValueError, match=r"sampling\.reencode: got True with offload 'parts', expected none"):
        video(switched(folder, reencode=True), opening, tmp_path / "a.mp4", offload="parts")


def test_a_video_says_where_it_is_from(folder: Path, tmp_path: Path, written: Any) -> None:
    loaded = arm(folder, "wan")
    opening = opening_from_text(SIZE, Script(("a dog", "a ball rolls"), (0.0, 0.5)))
    video(loaded, opening, tmp_path / "a.mp4")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["weights"].keys() == {"model", "codec", "base"}
    assert told["config"]["recipe"] == "td_f2k2f1k1_g3"
    assert (told["seed"], told["captions"], told["frames"]) == (0, ["a dog", "a ball rolls"], LATENTS)
    assert told["environment"]["versions"]["diffusers"]
    assert (tmp_path / "a.txt").read_text() == "a dog a ball rolls\n"


def test_scenes_begin_when_they_are_told_to(folder: Path, tmp_path: Path, written: Any) -> None:
    loaded = arm(folder, "wan")
    for captions, seconds in (
        (("a dog",), None),
        (("a dog", "a ball rolls"), (0.0, 1.25)),
        (("a dog", "a ball rolls"), None),
    ):
        video(loaded, opening_from_text(SIZE, Script(captions, seconds)), tmp_path / "a.mp4")
    one, late, even = (frames for _, frames in written)
    np.testing.assert_array_equal(one[:9], late[:9])
    assert (one[-1] != late[-1]).any()
    assert (late[-5] != even[-5]).any()


def test_a_script_is_read() -> None:
    assert script_of([]) == Script(("",))
    assert script_of(["a dog", "it rests"]) == Script(("a dog", "it rests"))
    assert script_of(["a dog", "2.5s: it rests", "4 s:it\nsleeps"]) == Script(
        ("a dog", "it rests", "it\nsleeps"), (0.0, 2.5, 4.0)
    )
    assert script_of(["0s: a dog"]).seconds == (0.0,)
    with pytest.raises(ValueError, match=r"prompt: got 'it rests' .*expected .*'3s: it rests'"):
        script_of(["0s: a dog", "it rests"])
    with pytest.raises(ValueError, match=r"prompt: got .*\[0\.0, 3\.0, 2\.0\] s, expected"):
        script_of(["a dog", "3s: it rests", "2s: it sleeps"])
    with pytest.raises(ValueError, match=r"prompt: got .*\[1\.0\] s, expected"):
        script_of(["1s: a dog"])


def test_a_size_is_asked_for_trained_or_that_of_the_picture(folder: Path, tmp_path: Path) -> None:
    square, wide = Bucket(64, 64), Bucket(48, 80)
    assert size_of("480x832", (square,)) == Bucket(480, 832)
    assert size_of(None, (square, wide)) == square, "the most frequent one"
    assert size_of(None, (square, wide), folder / "clip.mp4") == wide
    assert size_of(None) == Bucket(480, 832)
    found = size_of(None, (), folder / "clip.mp4")
    assert found.height * found.width <= 480 * 832
    assert found.width / found.height == pytest.approx(2, rel=0.1), "as the clip"
    with pytest.raises(ValueError, match="got '480', expected"):
        size_of("480")
    with pytest.raises(ValueError, match=r"got '99999999x99999999', expected .*16384"):
        size_of("99999999x99999999")


def test_a_released_model_is_ready_by_its_recipe(folder: Path) -> None:
    loaded = load_model(
        str(folder / "framepack"), "f1k1_x_g9_f1k1f2k2f16k4_td", None, ["model.dtype=bfloat16"]
    )
    assert loaded.sizes == ()
    assert loaded.config.codec.source == str(folder / "framepack")
    assert next(loaded.model.backbone.parameters()).dtype == torch.bfloat16
    assert loaded.model.source == str((folder / "framepack").resolve())
    assert arm(folder, "wan").sizes == (Bucket(32, 32),)
    for arguments, match in (
        ((None,), r"\bno checkpoint .*\bno recipe"),
        ((str(folder / "framepack"),), "expected --checkpoint RUN"),
        ((str(folder / "nowhere"), "g9"), "checkpoint: got .*/nowhere, expected"),
    ):
        with pytest.raises(ValueError, match=match):
            load_model(*arguments)


def test_a_model_may_be_told_to_begin_from_text_or_clips_in_training(folder: Path) -> None:
    for name in ARMS:
        with safe_open(folder / name / "run" / "train" / "model" / "model.safetensors", "pt") as file:
            assert all(torch.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118 - no dict
    config = real_config("framepack", folder, ("objective.given=[0, 1]",))
    with pytest.raises(ValueError, match=r"objective\.given: got .*expected 1\b"):
        run(folder / "bad", config, Materials(folder / "cache", Reporter()), Reporter(), stages=("train",))


_LONG = "x" * 300


@pytest.mark.parametrize(
    "name",
    [
        *("é" * 120 + ".mp4", f"{_LONG}.mp4", f"v.{_LONG}", f"{_LONG}/v.mp4", "v.txt", "v.json", ""),
        *("v.gif", "v.png", "v", "pipe.mp4", "dead.mp4"),
    ],
)
def test_a_place_that_a_video_cannot_have_is_refused_before_it_is_made(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dead.mp4").symlink_to("nowhere.mp4")
    with pytest.raises(ValueError, match=r"out: got|got out="):
        making.check_output(tmp_path / name)
    making.check_output(tmp_path / "scene: one.mp4")


def test_a_link_is_written_through(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "a.mp4", tmp_path / "link.mp4"
    target.touch()
    link.symlink_to(target)
    video(arm(folder, "wan"), opening_from_text(SIZE, Script(("a dog",))), link, 3)
    assert link.is_symlink()
    assert probe(target).frames == pixel_frames(3, 4)
    assert sorted(file.name for file in target.parent.iterdir()) == ["a.json", "a.mp4", "a.txt"]
    assert making.check_output(link) == target, "an earlier video and its files are replaced"


@pytest.mark.parametrize("preview", ["", ".preview"])
def test_an_input_is_not_overwritten(tmp_path: Path, preview: str) -> None:
    clip = tmp_path / f"clip{preview}.mp4"
    clip.write_bytes(b"mine")
    (tmp_path / "same.mp4").hardlink_to(clip)
    with pytest.raises(ValueError, match=rf"out='.*/clip\.mp4', .*\binput .*/clip{preview}\.mp4"):
        making.check_output(tmp_path / "clip.mp4", [tmp_path / "same.mp4"])
    making.check_output(tmp_path / "another.mp4", [clip])


@pytest.mark.parametrize(
    ("name", "text"),
    [("dog.txt", "mine"), ("dog.json", '{"seed": 1}'), ("dog.json", "[]"), ("dog.sections/mine.txt", "")],
)
def test_files_of_the_user_beside_the_video_are_kept(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"replace .*{name}"):
        making.check_output(tmp_path / "dog.mp4")


@pytest.mark.parametrize("asked", [{"seconds": 1e300}, {"seconds": 1e308}, {"frames": 1_000_001}])
def test_a_length_that_cannot_be_planned_is_refused(folder: Path, asked: dict[str, Any]) -> None:
    config = load("released/framepack")
    with pytest.raises(ValueError, match=r"expected .*1000000; .*(seconds|frames)$"):
        making.length_of(config, codec_of(arm(folder, "framepack").config.codec), 1, **asked)


def test_a_prompt_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        script_of(["caf\udce9"])
