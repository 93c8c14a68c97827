"""Tokenizers of the released kinds with a small vocabulary, built offline."""

import json
import re
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CAPTIONS = (
    "a red ball bounces over a blue floor",
    "a green striped disk moves slowly to the left",
    "two people walk through a quiet street at night, neon light, rain",
    "a bird takes off from the ground and flaps its wings under a white sky",
    "the camera follows a car along the coast",
    "a girl dances in the garden, soft morning light",
    "waves roll onto the beach while the sun sets behind the clouds",
    "close view of a cat that turns its head and looks into the camera",
    "a man rides a bike down a hill in the forest",
    "low quality, blurred, distorted, worst quality",
)
"""Captions whose words are single tokens; other text is split into smaller pieces."""

_LLAMA_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CLIP_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_LLAMA_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<pad>",
)
_CLIP_START, _CLIP_END = "<|startoftext|>", "<|endoftext|>"
_ALL_MERGES = 10_000  # more than there are


def llama_tokenizer() -> Any:
    """Build a byte-level BPE like Llama 3's; each word of HunyuanVideo's prompt template is one token."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import DEFAULT_PROMPT_TEMPLATE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LLAMA_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_ALL_MERGES,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(_LLAMA_SPECIAL),
        show_progress=False,
    )
    template = re.split(r"<\|\w+\|>|\{\}", DEFAULT_PROMPT_TEMPLATE["template"])
    tokenizer.train_from_iterator([*CAPTIONS, *template], trainer)
    begin, end = _LLAMA_SPECIAL[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token="<pad>", padding_side="right"
    )


def clip_tokenizer() -> Any:
    """Build a BPE with an end of word like CLIP's; the end of text is the highest token and the padding."""
    from transformers import CLIPTokenizer

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_PIECES), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    last_letters = [f"{byte}</w>" for byte in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=_ALL_MERGES,
        initial_alphabet=alphabet,
        special_tokens=last_letters,  # else the order in which they are met decides between equal merges
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(CAPTIONS, trainer)
    merges: Any = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    pieces = [*alphabet, *last_letters, *("".join(pair) for pair in merges)]
    vocabulary = [*dict.fromkeys(pieces), _CLIP_START, _CLIP_END]
    return CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(vocabulary)}, merges=merges, model_max_length=77
    )


def umt5_tokenizer() -> Any:
    """Build unigrams of words and letters like UMT5's."""
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for caption in CAPTIONS for word in re.findall(r"\w+", caption)})
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece, -12.0) for piece in ("▁", *letters)] + [(f"▁{word}", -6.0) for word in words]
    unique = dict(reversed(pieces))
    tokenizer = Tokenizer(models.Unigram([(piece, unique[piece]) for piece in dict(pieces)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="right",
    )
