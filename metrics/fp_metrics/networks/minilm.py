"""MiniLM-L6, the sentence encoder of the offline family: texts with like meaning get like vectors."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill
from fp_metrics.weights import weights_path

ARTIFACTS = ("minilm-l6", "minilm-l6-tokenizer")
WIDTH = 384
CONFIG: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": WIDTH,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
MOST_TOKENS = 256
"""Longer texts are cut here, as the encoder was published."""
BATCH = 64


@functools.cache
def load_minilm() -> nn.Module:
    """The trained encoder, loaded once per process.

    Raises:
        MissingWeights: the artifact is not there.
    """
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    path = weights_path("minilm-l6")
    state = load_file(path)
    state.pop("embeddings.position_ids", None)  # 0, 1, 2, ...: transformers makes it itself
    return fill(BertModel(BertConfig(**CONFIG)), state, path)


@functools.cache
def load_tokenizer() -> Any:
    """The tokenizer that belongs to the encoder."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(weights_path("minilm-l6-tokenizer")))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    return tokenizer


def embed(texts: Sequence[str]) -> Float[Tensor, "n 384"]:
    """Unit vectors of texts: the mean over their tokens, as published.

    Source: Wang et al., "MiniLM", NeurIPS 2020; Reimers & Gurevych, "Sentence-BERT", EMNLP 2019;
    https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    """
    network, tokenizer, vectors = load_minilm(), load_tokenizer(), []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            encoded = tokenizer.encode_batch(list(texts[start : start + BATCH]))
            tokens = torch.tensor([e.ids for e in encoded])
            mask = torch.tensor([e.attention_mask for e in encoded])
            hidden = network(input_ids=tokens, attention_mask=mask).last_hidden_state
            weight = mask[..., None].to(hidden.dtype)
            vectors.append(F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1))
    return torch.cat(vectors) if vectors else torch.zeros(0, WIDTH)
