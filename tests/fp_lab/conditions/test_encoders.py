"""Embeddings against diffusers' own pipelines on the same tiny folders."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import HunyuanVideoFramepackPipeline, WanImageToVideoPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.conditions.collate import collate, hunyuan_condition, wan_condition
from fp_lab.conditions.encoder_files import find_encoders
from fp_lab.conditions.encoders import TextEncoders, load_encoders
from fp_lab.lab.tiny_pipelines import build_tiny
from fp_lab.shapes import EncodedText

CAPTIONS = [
    "a red ball bounces over a blue floor",
    "two people walk, {zebras} in Zürich &amp; rain!  <|eot_id|>",
    "",
    "waves roll onto the beach " * 200,
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {name: build_tiny(name, root / name) for name in ("hunyuan_video", "framepack", "wan", "wan_i2v")}


@pytest.fixture(scope="module")
def hunyuan(folders: dict[str, Path]) -> TextEncoders:
    return load_encoders(folders["framepack"], torch.float32, "cpu")


@pytest.fixture(scope="module")
def wan(folders: dict[str, Path]) -> TextEncoders:
    return load_encoders(folders["wan_i2v"], torch.float32, "cpu")


def diffusers_pipeline(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, transformer=None, vae=None)


def pictures() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def as_frames(images: list[Image.Image]) -> Tensor:
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def test_hunyuan_captions_are_those_of_diffusers(folders: dict[str, Path], hunyuan: TextEncoders) -> None:
    pipeline = diffusers_pipeline(HunyuanVideoFramepackPipeline, folders["framepack"])
    words, pooled, mask = pipeline.encode_prompt(CAPTIONS)
    texts = hunyuan.texts(CAPTIONS)
    lengths = [len(text.words) for text in texts]
    assert lengths == mask.sum(1).tolist()
    assert (lengths[0], *lengths[2:]) == (9, 1, 256)
    condition = collate("hunyuan_video", texts)
    assert isinstance(condition, HunyuanCondition)
    assert condition.mask is not None
    assert torch.equal(condition.mask, mask.bool())
    torch.testing.assert_close(condition.tokens, words * mask[..., None], atol=1e-5, rtol=0)
    torch.testing.assert_close(condition.pooled, pooled, atol=1e-5, rtol=0)
    assert words.std() > 0.3


@torch.no_grad()
def test_wan_captions_are_those_of_diffusers(folders: dict[str, Path], wan: TextEncoders) -> None:
    pipeline = diffusers_pipeline(WanImageToVideoPipeline, folders["wan_i2v"])
    words, _ = pipeline.encode_prompt(CAPTIONS, do_classifier_free_guidance=False, max_sequence_length=512)
    texts = wan.texts(CAPTIONS)
    lengths = [len(text.words) for text in texts]
    assert (lengths[0], *lengths[2:]) == (9, 1, 512)
    condition = collate("wan", texts)
    assert isinstance(condition, WanCondition)
    assert condition.mask is None, "the padding is seen"
    torch.testing.assert_close(condition.tokens, words, atol=1e-5, rtol=0)
    torch.testing.assert_close(collate("wan", texts[:2]).tokens, words[:2], atol=1e-5, rtol=0)
    assert condition.tokens.shape == (4, 512, 32)


@torch.no_grad()
def test_images_are_those_of_diffusers(
    folders: dict[str, Path], hunyuan: TextEncoders, wan: TextEncoders
) -> None:
    images = pictures()
    frames = as_frames(images)
    pipeline = diffusers_pipeline(HunyuanVideoFramepackPipeline, folders["framepack"])
    theirs = pipeline.encode_image(pipeline.video_processor.preprocess(images, 40, 56))
    torch.testing.assert_close(hunyuan.images(frames), theirs, atol=1e-5, rtol=0)
    theirs = diffusers_pipeline(WanImageToVideoPipeline, folders["wan_i2v"]).encode_image(images)
    torch.testing.assert_close(wan.images(frames), theirs, atol=1e-5, rtol=0)
    assert (theirs[0] - theirs[1]).std() > 0.1


@pytest.mark.parametrize("family", ["framepack", "wan_i2v"])
def test_a_caption_does_not_depend_on_its_neighbours_and_another_differs(
    family: str, hunyuan: TextEncoders, wan: TextEncoders
) -> None:
    encoders = hunyuan if family == "framepack" else wan
    first, second, empty, _ = encoders.texts(CAPTIONS)
    (alone,) = encoders.texts(CAPTIONS[1:2])
    assert torch.equal(alone.words, second.words)
    assert (first.words[:9] - second.words[:9]).abs().max() > 0.3
    assert (first.words[-1] - empty.words[-1]).abs().max() > 0.3
    if first.pooled is not None:
        assert second.pooled is not None
        assert (first.pooled - second.pooled).abs().max() > 0.3


def test_captions_are_cut_where_one_says(folders: dict[str, Path]) -> None:
    found = find_encoders(folders["wan"], longest=16)
    with load_encoders(found, torch.bfloat16, "cpu") as encoders:
        texts = encoders.texts(CAPTIONS)
    assert [len(text.words) for text in texts] == [9, 16, 1, 16]
    assert texts[0].words.dtype == torch.bfloat16
    assert collate("wan", texts, longest=16).tokens.shape == (4, 16, 32)
    with pytest.raises(ValueError, match=r"caption .*\b16 tokens, expected .*\b8\b"):
        wan_condition(texts, longest=8)
    with pytest.raises(ValueError, match=r"longest = 0 .*expected .* 1$"):
        find_encoders(folders["wan"], longest=0)


def test_captions_of_one_length_need_no_mask(hunyuan: TextEncoders) -> None:
    texts = hunyuan.texts([CAPTIONS[0]] * 2)
    condition = hunyuan_condition(texts, torch.zeros(2, 4, 32), guidance=6.0)
    assert condition.mask is None
    assert condition.image is not None
    assert condition.guidance is not None
    assert condition.guidance.tolist() == [6000.0, 6000.0]


def test_the_released_tokenizer_class_is_not_followed(
    folders: dict[str, Path], hunyuan: TextEncoders, tmp_path: Path
) -> None:
    """The released index and config name LlamaTokenizerFast, which splits as Llama 2 since transformers 5."""
    folder = tmp_path / "released"
    shutil.copytree(folders["framepack"], folder)
    for path, key in (
        ("model_index.json", "tokenizer"),
        ("tokenizer/tokenizer_config.json", "tokenizer_class"),
    ):
        content = json.loads((folder / path).read_text())
        content[key] = ["transformers", "LlamaTokenizerFast"] if key == "tokenizer" else "LlamaTokenizerFast"
        (folder / path).write_text(json.dumps(content))
    with load_encoders(folder, torch.float32, "cpu", only="texts") as released:
        for ours, theirs in zip(released.texts(CAPTIONS), hunyuan.texts(CAPTIONS), strict=True):
            assert torch.equal(ours.words, theirs.words)


@pytest.mark.parametrize("part", ["text_encoder", "image_encoder"])
def test_an_encoder_without_some_of_its_weights_is_refused(
    part: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "wan_i2v"
    shutil.copytree(folders["wan_i2v"], folder)
    state = load_file(folder / part / "model.safetensors")
    state["a_head_that_is_not_used"] = torch.ones(1)
    save_file(state, folder / part / "model.safetensors", {"format": "pt"})
    load_encoders(folder, torch.float32, "cpu").close()
    name = next(name for name in sorted(state) if name.endswith("norm.weight") or "layer_norm1" in name)
    del state[name]
    save_file(state, folder / part / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=f"{part} .*weights .*1 missing"):
        load_encoders(folder, torch.float32, "cpu")


def test_a_tokenizer_that_does_not_fit_the_template_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(folders["framepack"], folder)
    shutil.copy(folders["wan"] / "tokenizer" / "tokenizer.json", folder / "tokenizer")
    with pytest.raises(ValueError, match=r"tokenizer .*\d+ tokens .*expected 95\b"):
        load_encoders(folder, torch.float32, "cpu")


def test_the_image_encoder_may_lie_elsewhere(folders: dict[str, Path], hunyuan: TextEncoders) -> None:
    frames = as_frames(pictures())
    with load_encoders(
        folders["hunyuan_video"], torch.float32, "cpu", image_source=folders["framepack"], only="images"
    ) as encoders:
        assert torch.equal(encoders.images(frames), hunyuan.images(frames))
        with pytest.raises(ValueError, match=r"\btext_encoder of hunyuan_video .*\bonly=None"):
            encoders.texts(["a"])


def test_what_was_not_loaded_or_was_released_is_said(folders: dict[str, Path]) -> None:
    encoders = load_encoders(folders["wan"], torch.float32, "cpu")
    with pytest.raises(ValueError, match=r"\bimage_encoder of wan .*\bonly=None"):
        encoders.images(torch.zeros(1, 3, 32, 32))
    encoders.close()
    with pytest.raises(ValueError, match=r"encoders .*/wan .*\breleased\b"):
        encoders.texts(["a"])


@pytest.mark.parametrize(
    ("family", "missing"),
    [
        ("framepack", "text_encoder/model.safetensors"),
        ("framepack", "tokenizer/tokenizer.json"),
        ("framepack", "tokenizer_2/tokenizer_config.json"),
        ("framepack", "feature_extractor/preprocessor_config.json"),
        ("wan_i2v", "text_encoder/config.json"),
        ("wan_i2v", "image_encoder/model.safetensors"),
    ],
)
def test_a_missing_part_is_named_with_its_origin(
    family: str, missing: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(folders[family], folder)
    (folder / missing).unlink()
    part = missing.partition("/")[0]
    with pytest.raises(ValueError, match=f"no {missing} in .*cut, which .*`hf download .*--include '{part}/"):
        load_encoders(folder, torch.float32, "cpu")


def test_a_missing_shard_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(folders["wan"], folder)
    weight_map = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "text_encoder" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match=r"no text_encoder/model-00002-of-00002\.safetensors in"):
        load_encoders(folder, torch.float32, "cpu")


def test_a_source_that_is_no_pipeline_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model_index\.json .*/vae.*hf download hunyuanvideo-community"):
        find_encoders(folders["wan"] / "vae")
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(ValueError, match=r"FluxPipeline, expected .*HunyuanVideoPipeline"):
        find_encoders(tmp_path)
    with pytest.raises(ValueError, match=r"got 'nobody/nothing', .*\brepository"):
        find_encoders("nobody/nothing")


def test_texts_that_do_not_fit_are_refused() -> None:
    text = EncodedText(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"got 1 captions .*\b0 pooled"):
        hunyuan_condition([text])
    with pytest.raises(ValueError, match=r"got 0 captions .*no images, expected"):
        wan_condition([])
    with pytest.raises(ValueError, match="got 1 captions and 2 images"):
        wan_condition([text], torch.zeros(2, 5, 4))


def test_an_encoded_text_is_rebuilt_from_its_tensors() -> None:
    text = EncodedText(torch.ones(3, 4), torch.zeros(2))
    again = EncodedText.of({**text.tensors, "image": torch.zeros(1)})
    assert torch.equal(again.words, text.words)
    assert again.tensors.keys() == {"words", "pooled"}
    assert EncodedText.of(EncodedText(text.words).tensors).pooled is None
