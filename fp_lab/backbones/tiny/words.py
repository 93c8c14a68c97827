"""Captions become tokens: a learned word embedding that is part of the checkpoint."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fp_lab.checks.ranges import check_ranges
from fp_lab.shapes import TextCondition


@dataclass(frozen=True)
class WordsConfig:
    """Vocabulary of the learned text embedding.

    Attributes:
        words: known words, lower case.
        buckets: embeddings shared by all other words, chosen by a hash.
        longest: captions are cut after so many words.
    """

    words: tuple[str, ...] = ()
    buckets: int = 64
    longest: int = 40

    def __post_init__(self) -> None:
        """Refuse a vocabulary without embeddings."""
        check_ranges("model.backbone.words", self, buckets="[1, inf)", longest="[1, inf)")


class WordEmbedding(nn.Module):
    """Words of a caption as tokens; the empty caption is one token of its own (unconditional)."""

    def __init__(self, config: WordsConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.index = {word: 1 + i for i, word in enumerate(config.words)}
        self.words = nn.Embedding(1 + len(config.words) + config.buckets, width)
        self.places = nn.Embedding(config.longest, width)
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.places.weight, std=0.1)

    def word_ids(self, caption: str) -> list[int]:
        """Row of each word; 0 stands for the empty caption, unknown words are hashed (CRC-32)."""
        words = re.findall(r"[^\W_]+", caption.lower())[: self.config.longest]
        first_bucket = 1 + len(self.index)
        # Python's own hash of strings differs between processes
        ids = [self.index.get(w, first_bucket + zlib.crc32(w.encode()) % self.config.buckets) for w in words]
        return ids or [0]

    def forward(self, captions: Sequence[str]) -> TextCondition:
        """Encode captions.

        Returns:
            Tokens ``b l d``, padded to the longest caption, and their mask if any is shorter.
        """
        ids = [self.word_ids(caption) for caption in captions]
        length = max(map(len, ids))
        device = self.words.weight.device
        padded = torch.tensor([row + [0] * (length - len(row)) for row in ids], device=device)
        tokens = self.words(padded) + self.places.weight[:length]
        if all(len(row) == length for row in ids):
            return TextCondition(tokens)
        lengths = torch.tensor([len(row) for row in ids], device=device)
        return TextCondition(tokens, torch.arange(length, device=device) < lengths[:, None])
