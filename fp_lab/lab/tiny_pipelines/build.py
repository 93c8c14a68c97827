"""Assembly of tiny pipelines, written as diffusers does."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from fp_data.atomic import replacing_folder
from fp_lab.lab.tiny_pipelines import parts, tokenizers

TinyFamily = Literal["hunyuan_video", "framepack", "wan", "wan_i2v"]


def build_tiny(family: TinyFamily, folder: Path, seed: int = 0) -> Path:
    """Write a whole pipeline with random weights, a few megabytes.

    Args:
        family: pipeline of diffusers: HunyuanVideoPipeline (``hunyuan_video``), HunyuanVideoFramepackPipeline
            (``framepack``), WanPipeline (``wan``) or WanImageToVideoPipeline (``wan_i2v``).
        folder: output folder, replaced if it exists.
        seed: seed of the weights.

    Returns:
        Folder of the pipeline.
    """
    with torch.random.fork_rng(devices=[]):  # the constructors' own initialisation, which does not stay
        pipeline = _hunyuan(family) if family in ("hunyuan_video", "framepack") else _wan(family)
    generator = torch.Generator().manual_seed(seed)
    for _, part in sorted(pipeline.components.items()):
        if isinstance(part, nn.Module):
            parts.randomise(part, generator)
    with replacing_folder(folder) as unfinished:
        pipeline.save_pretrained(unfinished)
    return folder


def _hunyuan(family: TinyFamily) -> Any:
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoFramepackPipeline,
        HunyuanVideoPipeline,
    )

    tokenizer, tokenizer_2 = tokenizers.llama_tokenizer(), tokenizers.clip_tokenizer()
    framepack = family == "framepack"
    together: dict[str, Any] = {
        "text_encoder": parts.llama(tokenizer),
        "tokenizer": tokenizer,
        "text_encoder_2": parts.clip_text(tokenizer_2),
        "tokenizer_2": tokenizer_2,
        "transformer": parts.hunyuan_transformer(framepack=framepack),
        "vae": parts.hunyuan_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
    }
    if not framepack:
        return HunyuanVideoPipeline(**together)
    return HunyuanVideoFramepackPipeline(
        **together, image_encoder=parts.siglip(), feature_extractor=parts.siglip_processor()
    )


def _wan(family: TinyFamily) -> Any:
    from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline

    tokenizer = tokenizers.umt5_tokenizer()
    image = family == "wan_i2v"
    together: dict[str, Any] = {
        "text_encoder": parts.umt5(tokenizer),
        "tokenizer": tokenizer,
        "transformer": parts.wan_transformer(image=image),
        "vae": parts.wan_vae(),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }
    if not image:
        return WanPipeline(**together)
    return WanImageToVideoPipeline(
        **together, image_encoder=parts.clip_vision(), image_processor=parts.clip_processor()
    )
