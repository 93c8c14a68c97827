"""The LAION aesthetic predictor, version 1: a linear head on the image embedding of CLIP ViT-L/14.

Source: https://github.com/LAION-AI/aesthetic-predictor; Radford et al., "Learning Transferable Visual Models
From Natural Language Supervision", ICML 2021, https://arxiv.org/abs/2103.00020.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state
from fp_metrics.weights import weights_path

CLIP, HEAD = "clip-vit-l14", "laion-aesthetic-v1-l14"
VIT_L_14: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
"""The configuration of openai/clip-vit-large-patch14, image side."""
IMAGE_SIDE = ("vision_model.", "visual_projection.")
"""How the names of the image side begin; the text side of the file is never read."""


class ClipAesthetic(nn.Module):
    """Image encoder and head.

    Args:
        config: of the image encoder, as `VIT_L_14`.
    """

    def __init__(self, config: Mapping[str, Any] = VIT_L_14) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        self.head = nn.Linear(config["projection_dim"], 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """A tenth of the aesthetic rating of ``(n, 3, 224, 224)``: ``(n,)``, about 0 to 1.

        Args:
            pictures: cropped and normalised by CLIP's mean and deviation.
        """
        embedding = self.clip(pixel_values=pictures).image_embeds
        return self.head(F.normalize(embedding, dim=-1))[:, 0] / 10


def read_image_side(path: Path) -> dict[str, Tensor]:
    """The tensors of CLIP's image side in a safetensors file that has both sides."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(IMAGE_SIDE)]  # noqa: SIM118 - it is no dict
        state = {name: file.get_tensor(name) for name in names}
    state.pop("vision_model.embeddings.position_ids", None)  # older files hold this constant: 0, 1, 2, ...
    return state


def load_clip_aesthetic(clip: Path, head: Path, config: Mapping[str, Any] = VIT_L_14) -> ClipAesthetic:
    """The predictor from its two published files.

    Args:
        clip: `model.safetensors` of CLIP ViT-L/14.
        head: `sa_0_4_vit_l_14_linear.pth`.
        config: of the image encoder.

    Raises:
        ValueError: where a file holds other tensors than the network has.
    """
    network = ClipAesthetic(config)
    fill(network.clip, read_image_side(clip), clip)
    fill(network.head, read_state(head), head)
    return network.eval()


@functools.cache
def laion_aesthetic(device: torch.device) -> ClipAesthetic:
    """The predictor on CLIP ViT-L/14, ready for inference.

    Raises:
        MissingWeights: where one of the two files is not there.
        ValueError: where a file holds other tensors than the network has.
    """
    return load_clip_aesthetic(weights_path(CLIP), weights_path(HEAD)).to(device)
