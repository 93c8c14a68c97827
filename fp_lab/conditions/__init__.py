"""What a model is told beside its history: words, and for real models embeddings of captions and images."""

from fp_lab.conditions.words import WordEmbedding, WordsConfig

__all__ = ["WordEmbedding", "WordsConfig"]
