"""Tiny pipelines: diffusers loads them, they run, and what one says to them matters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import DEFAULT_PROMPT_TEMPLATE
from PIL import Image
from torch import Tensor

from fp_lab.lab.tiny_pipelines import build_tiny
from fp_lab.lab.tiny_pipelines.tokenizers import CAPTIONS, clip_tokenizer, llama_tokenizer, umt5_tokenizer
from fp_lab.weights.files import file_sha256

SIZE = {"height": 32, "width": 48, "num_inference_steps": 2, "output_type": "latent"}
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))


@dataclass(frozen=True)
class Case:
    """A pipeline of diffusers and what it is called with."""

    pipeline: str
    call: dict[str, Any]


CASES = {
    "hunyuan_video": Case("HunyuanVideoPipeline", {"num_frames": 9}),
    "framepack": Case(
        "HunyuanVideoFramepackPipeline", {"num_frames": 9, "latent_window_size": 3, "image": PICTURE}
    ),
    "wan": Case("WanPipeline", {"num_frames": 9, "guidance_scale": 3.0, "negative_prompt": CAPTIONS[-1]}),
    "wan_i2v": Case("WanImageToVideoPipeline", {"num_frames": 9, "image": PICTURE}),
}


def loaded(family: str, folder: Path) -> Any:
    pipeline = getattr(diffusers, CASES[family].pipeline).from_pretrained(build_tiny(family, folder))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generated(pipeline: Any, caption: str, call: dict[str, Any], **options: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    frames = pipeline(prompt=caption, generator=generator, **{**SIZE, **call, **options}).frames
    return frames[0] if isinstance(frames, list) else frames


@pytest.mark.parametrize("family", CASES)
def test_the_pipeline_loads_and_a_caption_matters(family: str, tmp_path: Path) -> None:
    case = CASES[family]
    pipeline = loaded(family, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < 4e6
    latents = generated(pipeline, CAPTIONS[0], case.call)
    assert latents.shape[1:] == (16, 4 if family == "framepack" else 3, 4, 6)
    assert 0.5 < latents.std() < 4
    assert torch.equal(latents, generated(pipeline, CAPTIONS[0], case.call))
    assert (latents - generated(pipeline, CAPTIONS[1], case.call)).std() > 0.02
    video = generated(pipeline, CAPTIONS[0], case.call, output_type="pt")
    assert video.shape[-3:] == (3, 32, 48)
    assert video.std() > 0.05


@pytest.mark.parametrize("family", ["framepack", "wan_i2v"])
def test_the_picture_matters(family: str, tmp_path: Path) -> None:
    case = CASES[family]
    pipeline = loaded(family, tmp_path)
    plain = {**case.call, "image": Image.new("RGB", (48, 32), "blue")}
    difference = generated(pipeline, CAPTIONS[0], case.call) - generated(pipeline, CAPTIONS[0], plain)
    assert difference[:, :, -1].std() > 0.02


def test_a_seed_gives_the_same_files_and_nothing_is_drawn_from_the_global_generator(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    folders = [build_tiny("framepack", tmp_path / str(n), seed) for n, seed in enumerate((0, 0, 1))]
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (
        {file.relative_to(folder): file_sha256(file) for file in folder.rglob("*") if file.is_file()}
        for folder in folders
    )
    assert first == same
    changed = {path.name for path in first if first[path] != other[path]}
    assert changed == {"model.safetensors", "diffusion_pytorch_model.safetensors"}


def test_a_folder_is_replaced(tmp_path: Path) -> None:
    folder = build_tiny("framepack", tmp_path / "model")
    build_tiny("wan", folder)
    assert not (folder / "text_encoder_2").exists()


def test_the_prompt_template_ends_where_the_pipeline_cuts_it() -> None:
    tokenizer = llama_tokenizer()
    template = DEFAULT_PROMPT_TEMPLATE["template"]
    head = tokenizer(template.partition("{}")[0]).input_ids
    assert len(head) == DEFAULT_PROMPT_TEMPLATE["crop_start"] == 95
    whole = tokenizer(template.format(CAPTIONS[0])).input_ids
    assert whole[:95] == head
    assert tokenizer.decode(whole[95:]) == CAPTIONS[0] + "<|eot_id|>"


@pytest.mark.parametrize("make", [llama_tokenizer, clip_tokenizer, umt5_tokenizer])
def test_tokenizers_know_their_words_and_spell_others(make: Any, tmp_path: Path) -> None:
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    words = len(tokenizer.tokenize("a red ball bounces"))
    assert words == 4
    strange = "zebra qx 7!"
    ids = tokenizer(strange).input_ids
    assert again(strange).input_ids == ids
    assert again.decode(ids, skip_special_tokens=True).replace(" ", "") == strange.replace(" ", "")
