"""Networks of a tiny pipeline: the released classes and proportions, with minimal width."""

from typing import Any

import torch
from torch import nn

WIDTH = 32
"""Width of every encoder."""
CHANNELS = 16
"""Channels of latents, as released."""
PICTURE, PATCH = 32, 16


def randomise(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Give every parameter random values: no zeros, no ones, outputs of order one."""
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
            centre = float(parameter.ndim == 1 and bool((parameter == 1).all()))
            parameter.copy_(centre + torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return module.eval()


def llama(tokenizer: Any) -> nn.Module:
    """Build the language model of HunyuanVideo, read two layers before its end."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaModel(config)


def clip_text(tokenizer: Any) -> nn.Module:
    """Build the pooled text encoder of HunyuanVideo."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def umt5(tokenizer: Any) -> nn.Module:
    """Build the text encoder of Wan."""
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=WIDTH // 2, d_ff=2 * WIDTH, num_layers=2, num_heads=2
    )
    return UMT5EncoderModel(config)


def siglip() -> nn.Module:
    """Build the image encoder of FramePack."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    return SiglipVisionModel(SiglipVisionConfig(**_vision()))


def clip_vision() -> nn.Module:
    """Build the image encoder of Wan, read one layer before its end."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**_vision(), projection_dim=WIDTH))


def siglip_processor() -> Any:
    """Build the image processor of `siglip`."""
    from transformers import SiglipImageProcessor

    return SiglipImageProcessor(size={"height": PICTURE, "width": PICTURE})


def clip_processor() -> Any:
    """Build the image processor of `clip_vision`."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"shortest_edge": PICTURE}, crop_size={"height": PICTURE, "width": PICTURE}
    )


def hunyuan_vae() -> nn.Module:
    """Build the VAE of HunyuanVideo, with 8 x 8 pixels and 4 frames per latent."""
    from diffusers import AutoencoderKLHunyuanVideo

    vae: nn.Module = AutoencoderKLHunyuanVideo(
        latent_channels=CHANNELS, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )
    return vae


def wan_vae() -> nn.Module:
    """Build the VAE of Wan, with 8 x 8 pixels and 4 frames per latent, and the released statistics."""
    from diffusers import AutoencoderKLWan

    vae: nn.Module = AutoencoderKLWan(base_dim=4, z_dim=CHANNELS, num_res_blocks=1)
    return vae


def hunyuan_transformer(*, framepack: bool) -> nn.Module:
    """Build HunyuanVideo's transformer, or FramePack's with its image projection and history."""
    from diffusers import HunyuanVideoFramepackTransformer3DModel, HunyuanVideoTransformer3DModel

    config: dict[str, Any] = {
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "text_embed_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "rope_axes_dim": (4, 6, 6),
    }
    transformer: nn.Module
    if framepack:
        image: dict[str, Any] = {
            "has_image_proj": True,
            "image_proj_dim": WIDTH,
            "has_clean_x_embedder": True,
        }
        transformer = HunyuanVideoFramepackTransformer3DModel(**config, **image)
    else:
        transformer = HunyuanVideoTransformer3DModel(**config)
    return transformer


def wan_transformer(*, image: bool) -> nn.Module:
    """Build Wan's transformer; with an image it takes 4 mask channels and a frame's latents beside noise."""
    from diffusers import WanTransformer3DModel

    heads, head = 2, 16
    reads: dict[str, Any] = {"image_dim": WIDTH, "added_kv_proj_dim": heads * head} if image else {}
    transformer: nn.Module = WanTransformer3DModel(
        num_attention_heads=heads,
        attention_head_dim=head,
        in_channels=2 * CHANNELS + 4 if image else CHANNELS,
        out_channels=CHANNELS,
        text_dim=WIDTH,
        freq_dim=WIDTH,
        ffn_dim=2 * WIDTH,
        num_layers=2,
        **reads,
    )
    return transformer


def _vision() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": PICTURE,
        "patch_size": PATCH,
    }
