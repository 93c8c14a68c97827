"""The lab's own small transformer, and its learned embedding of words."""

from fp_lab.backbones.tiny.model import TinyDiT, TinyDiTConfig, TinySection
from fp_lab.backbones.tiny.words import WordEmbedding, WordsConfig

__all__ = ["TinyDiT", "TinyDiTConfig", "TinySection", "WordEmbedding", "WordsConfig"]
