"""Embeddings on disk: encoded once, checked, and the encoders loaded only for what is missing."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.conditions.encoder_files import find_encoders
from fp_lab.conditions.encoders import TextEncoders, load_encoders
from fp_lab.lab.encoding import text_embeddings
from fp_lab.lab.encoding.text_embeddings import EncodedTexts
from fp_lab.lab.tiny_pipelines import build_tiny

CAPTIONS = ["a red ball", "", "a bird takes off from the ground"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("framepack", tmp_path_factory.mktemp("tiny") / "framepack")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded, in words."""
    seen: list[str] = []

    def counted(*given: Any, **options: Any) -> TextEncoders:
        seen.append(str(options["only"]))
        return load_encoders(*given, **options)

    monkeypatch.setattr(text_embeddings, "load_encoders", counted)
    return seen


def table(model: Path, folder: Path, **options: Any) -> EncodedTexts:
    found = find_encoders(model, longest=options.pop("longest", None))
    return EncodedTexts(found, options.pop("dtype", torch.float32), folder=folder)


def test_a_caption_is_encoded_once(model: Path, tmp_path: Path, loads: list[str]) -> None:
    first = table(model, tmp_path)([*CAPTIONS, CAPTIONS[0]])
    assert loads == ["texts"], "no image encoder comes along"
    again = table(model, tmp_path)
    assert again.encode(CAPTIONS) == 0
    second = again([*CAPTIONS, CAPTIONS[0]], torch.zeros(4, 4, 32))
    assert loads == ["texts"]
    assert isinstance(first, HunyuanCondition)
    assert isinstance(second, HunyuanCondition)
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.pooled, second.pooled)
    assert second.image is not None
    assert torch.equal(first.tokens[0], first.tokens[3])


def test_what_is_read_is_what_was_encoded(model: Path, tmp_path: Path) -> None:
    with load_encoders(model, torch.bfloat16, "cpu", only="texts") as encoders:
        direct = encoders.texts(CAPTIONS)
    read = table(model, tmp_path, dtype=torch.bfloat16).encoded(CAPTIONS)
    for ours, theirs in zip(read, direct, strict=True):
        assert ours.pooled is not None
        assert theirs.pooled is not None
        assert torch.equal(ours.words, theirs.words)
        assert torch.equal(ours.pooled, theirs.pooled)


def test_an_embedding_stands_for_itself(model: Path, tmp_path: Path, loads: list[str]) -> None:
    elsewhere = table(model, tmp_path / "elsewhere").encoded(CAPTIONS)
    here = table(model, tmp_path / "here")
    here.keep("", elsewhere[1])
    assert loads == ["texts"]
    given = here([elsewhere[0], "", elsewhere[2]])
    assert loads == ["texts"], "nothing was left to encode"
    expected = table(model, tmp_path / "elsewhere")(CAPTIONS)
    assert isinstance(given, HunyuanCondition)
    assert isinstance(expected, HunyuanCondition)
    assert torch.equal(given.tokens, expected.tokens)
    assert torch.equal(given.pooled, expected.pooled)


def test_lightning_moves_embeddings_with_their_batch(model: Path, tmp_path: Path) -> None:
    captions = table(model, tmp_path).encoded(CAPTIONS[:2])
    moved = move_data_to_device({"captions": [*captions, "a text"]}, torch.device("meta"))["captions"]
    assert [caption.words.device.type for caption in moved[:2]] == ["meta", "meta"]
    assert [caption.pooled.device.type for caption in moved[:2]] == ["meta", "meta"]
    assert moved[2] == "a text"


def test_an_interrupted_encoding_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = table(model, tmp_path)
    write = text_embeddings.save_file

    def killed(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    texts.encode(CAPTIONS[:1])
    monkeypatch.setattr(text_embeddings, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        texts.encode(CAPTIONS)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == [texts.path(CAPTIONS[0]).name]
    monkeypatch.setattr(text_embeddings, "save_file", write)
    told: list[tuple[int, int]] = []
    assert texts.encode(CAPTIONS, lambda done, count: told.append((done, count))) == 2
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("fault", ["cut", "bit", "other"])
def test_a_damaged_file_is_named_and_made_again(model: Path, tmp_path: Path, fault: str) -> None:
    texts = table(model, tmp_path)
    (before,) = texts.encoded(CAPTIONS[:1])
    path = texts.path(CAPTIONS[0])
    content = bytearray(path.read_bytes())
    if fault == "bit":
        content[-7] ^= 1
    path.write_bytes(b"{}" if fault == "other" else content[:-9] if fault == "cut" else content)
    with pytest.warns(UserWarning, match=f"{path.name}: is .*{path.name}.damaged"):
        (after,) = texts.encoded(CAPTIONS[:1])
    assert torch.equal(after.words, before.words)
    assert texts.encode(CAPTIONS[:1]) == 0


def test_all_that_an_embedding_depends_on_is_in_its_name(model: Path, tmp_path: Path) -> None:
    caption = CAPTIONS[0]
    texts = table(model, tmp_path)
    other = build_tiny("framepack", tmp_path / "other", seed=1)
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    paths = {
        texts.path(caption),
        texts.path(caption + "s"),
        table(model, tmp_path, longest=8).path(caption),
        table(model, tmp_path, dtype=torch.bfloat16).path(caption),
        table(other, tmp_path).path(caption),
        EncodedTexts(find_encoders(build_tiny("wan", tmp_path / "wan")), folder=tmp_path).path(caption),
    }
    assert len(paths) == 6
    assert table(moved, tmp_path).path(caption) == texts.path(caption)


def test_the_folder_is_in_the_cache_unless_one_says(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    assert EncodedTexts(find_encoders(model)).folder == tmp_path / "texts"


def test_a_caption_that_is_cut_is_said_every_time(model: Path, tmp_path: Path) -> None:
    texts = table(model, tmp_path, longest=2)
    for count in (1, 0):
        with pytest.warns(UserWarning, match=r"'a bird takes off from the ground' has \d+ tokens.* told 2"):
            assert texts.encode([CAPTIONS[2]]) == count
