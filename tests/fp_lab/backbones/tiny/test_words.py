import torch

from fp_data.worlds import VOCABULARY
from fp_lab.backbones.tiny import WordEmbedding, WordsConfig
from fp_lab.model import FramePackModel

CONFIG = WordsConfig(words=("red", "ball"), buckets=8, longest=4)


def test_words_have_rows_of_their_own_and_unknown_words_share_buckets() -> None:
    embedding = WordEmbedding(CONFIG, 4)
    assert embedding.word_ids("Red ball") == [1, 2]
    unknown = embedding.word_ids("zebra")
    assert unknown == embedding.word_ids("ZEBRA!")
    assert 3 <= unknown[0] < 3 + 8


def test_the_empty_caption_is_a_token_of_its_own() -> None:
    embedding = WordEmbedding(CONFIG, 4)
    assert embedding.word_ids("") == embedding.word_ids(" , ") == [0]
    condition = embedding(["", "red ball"])
    assert condition.mask.tolist() == [[True, False], [True, True]]
    assert condition.tokens.shape == (2, 2, 4)


def test_captions_are_cut_at_the_longest() -> None:
    assert len(WordEmbedding(CONFIG, 4).word_ids("red " * 9)) == 4


def test_word_order_matters() -> None:
    embedding = WordEmbedding(CONFIG, 4)
    there, back = embedding(["red ball"]).tokens, embedding(["ball red"]).tokens
    assert not torch.allclose(there.sum(1) * 0 + there[:, 0], back[:, 1])


def test_the_shipped_base_reads_captions_of_the_world_by_the_rows_it_was_trained_on() -> None:
    embedding = FramePackModel.load().backbone.text
    words = embedding.config.words
    assert words == VOCABULARY[: len(words)], "later words are shared rows for it"
    rows = embedding.word_ids("a red plain ball starting slowly right over a wavy grey background")
    assert rows == [1, 18, 15, 11, 2, 34, 37, 3, 1, 27, 28, 5]
