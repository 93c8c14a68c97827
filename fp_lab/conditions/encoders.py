"""Captions and images as real models are told them, over the `encode_prompt` of diffusers' own pipelines.

Prompt template, cropping, padding and masks are theirs by construction. The encoders are large (a Llama of
8 billion parameters for HunyuanVideo, a UMT5-XXL for Wan): they are loaded only while something is encoded.
"""

import gc
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor

from fp_lab.conditions.encoder_files import EncoderFiles, find_encoders
from fp_lab.shapes import EncodedText
from fp_lab.weights.hub import load_whole

Only = Literal["texts", "images"]


class TextEncoders(ABC):
    """The encoders of a family; a context manager that releases their memory."""

    def __init__(self, pipeline: Any, files: EncoderFiles) -> None:
        """Wrap a pipeline of diffusers that has neither transformer nor autoencoder."""
        self.files = files
        self._pipeline: Any = pipeline

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> list[EncodedText]:
        """Encode captions; a negative prompt is one like others, the empty caption too.

        They go through one by one: none depends on what is encoded beside it, not by rounding either.

        Raises:
            ValueError: the text encoders were not loaded, or were released.
        """
        self._require("text_encoder")
        return [self._text(caption) for caption in captions]

    @torch.no_grad()
    def images(self, frames: Tensor) -> Tensor:
        """Encode frames ``b 3 h w`` in [-1, 1] to embeddings ``b i e``.

        Raises:
            ValueError: the image encoder was not loaded, or was released.
        """
        self._require("image_encoder")
        return self._images(frames)

    def tokens(self, caption: str) -> int:
        """How many tokens a caption has; those behind `EncoderFiles.longest` are not looked at.

        Raises:
            ValueError: the text encoders were not loaded, or were released.
        """
        self._require("text_encoder")
        return self._tokens(caption)

    def close(self) -> None:
        """Release the memory of the encoders."""
        self._pipeline = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __enter__(self) -> "TextEncoders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _text(self, caption: str) -> EncodedText: ...

    @abstractmethod
    def _tokens(self, caption: str) -> int: ...

    @abstractmethod
    def _images(self, frames: Tensor) -> Tensor: ...

    def _require(self, part: str) -> None:
        if self._pipeline is None:
            raise ValueError(f"the encoders of {self.files.text_folder} were released; load them again")
        if getattr(self._pipeline, part, None) is None:
            raise ValueError(
                f"the {part} of {self.files.family} was not loaded; load the encoders with only=None, and an "
                "image_source where their folder has no image encoder"
            )


class HunyuanEncoders(TextEncoders):
    """Llama and CLIP for captions, SigLIP for images (HunyuanVideo and FramePack)."""

    def _text(self, caption: str) -> EncodedText:
        words, pooled, mask = self._pipeline.encode_prompt([caption], max_sequence_length=self.files.longest)
        return EncodedText(words[0, mask[0].bool()], pooled[0])

    def _tokens(self, caption: str) -> int:
        from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import DEFAULT_PROMPT_TEMPLATE

        whole, empty = (
            self._pipeline.tokenizer(DEFAULT_PROMPT_TEMPLATE["template"].format(text)).input_ids
            for text in (caption, "")
        )
        return len(whole) - len(empty)

    def _images(self, frames: Tensor) -> Tensor:
        embeddings: Tensor = self._pipeline.encode_image(frames)
        return embeddings


class WanEncoders(TextEncoders):
    """UMT5 for captions, CLIP for images (Wan)."""

    def _text(self, caption: str) -> EncodedText:
        padded, _ = self._pipeline.encode_prompt(
            [caption], do_classifier_free_guidance=False, max_sequence_length=self.files.longest
        )
        words = padded[0].any(-1).nonzero()  # the pipeline pads with zeros
        return EncodedText(padded[0, : int(words.max()) + 1].clone())

    def _tokens(self, caption: str) -> int:
        return len(self._pipeline.tokenizer(caption).input_ids)

    def _images(self, frames: Tensor) -> Tensor:
        pictures = ((frames.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        embeddings: Tensor = self._pipeline.encode_image(list(pictures))
        return embeddings


def load_encoders(
    source: str | Path | EncoderFiles,
    dtype: torch.dtype,
    device: torch.device | str,
    image_source: str | Path | None = None,
    longest: int | None = None,
    only: Only | None = None,
) -> TextEncoders:
    """Load the encoders of a pipeline.

    Args:
        source: see `find_encoders`, or what it has found.
        dtype: of the weights, and so of the embeddings.
        device: where they are computed.
        image_source: see `find_encoders`.
        longest: see `find_encoders`.
        only: load nothing but what this takes. None: the image encoder too, if there is one.

    Raises:
        ValueError: a part is missing or not whole, or the tokenizer does not fit the prompt template.
    """
    found = source if isinstance(source, EncoderFiles) else find_encoders(source, image_source, longest)
    if only != "images":
        found.text_files()
    images = only == "images" or (only is None and found.has_images)
    if images:
        found.image_files()
    load = {"hunyuan_video": _load_hunyuan, "wan": _load_wan}[found.family]
    return load(found, {"dtype": dtype, "heads": True}, torch.device(device), only != "images", images)


def _load_hunyuan(
    files: EncoderFiles, options: dict[str, Any], device: torch.device, texts: bool, images: bool
) -> TextEncoders:
    from diffusers import HunyuanVideoFramepackPipeline
    from transformers import (
        CLIPTextModel,
        CLIPTokenizer,
        LlamaModel,
        PreTrainedTokenizerFast,
        SiglipImageProcessor,
        SiglipVisionModel,
    )

    parts: dict[str, Any] = dict.fromkeys(
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "image_encoder", "feature_extractor")
    )
    if texts:
        folder = files.text_folder
        # LlamaTokenizerFast, which the released index names, replaces the byte-level splitting of Llama 3 by
        # that of Llama 2 since transformers 5; this class does as tokenizer.json says
        parts["tokenizer"] = PreTrainedTokenizerFast.from_pretrained(folder, subfolder="tokenizer")
        _require_template(parts["tokenizer"], folder)
        parts["tokenizer_2"] = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2")
        parts["text_encoder"] = load_whole(LlamaModel, folder, subfolder="text_encoder", **options)
        parts["text_encoder_2"] = load_whole(CLIPTextModel, folder, subfolder="text_encoder_2", **options)
    if images:
        folder = files.image_folder
        parts["feature_extractor"] = SiglipImageProcessor.from_pretrained(
            folder, subfolder="feature_extractor"
        )
        parts["image_encoder"] = load_whole(SiglipVisionModel, folder, subfolder="image_encoder", **options)
    pipeline = HunyuanVideoFramepackPipeline(transformer=None, vae=None, scheduler=None, **parts)
    return HunyuanEncoders(pipeline.to(device), files)


def _load_wan(
    files: EncoderFiles, options: dict[str, Any], device: torch.device, texts: bool, images: bool
) -> TextEncoders:
    from diffusers import WanImageToVideoPipeline
    from transformers import CLIPImageProcessor, CLIPVisionModel, PreTrainedTokenizerFast, UMT5EncoderModel

    parts: dict[str, Any] = dict.fromkeys(("text_encoder", "tokenizer", "image_encoder", "image_processor"))
    if texts:
        folder = files.text_folder
        parts["tokenizer"] = PreTrainedTokenizerFast.from_pretrained(folder, subfolder="tokenizer")
        parts["text_encoder"] = load_whole(UMT5EncoderModel, folder, subfolder="text_encoder", **options)
    if images:
        folder = files.image_folder
        parts["image_processor"] = CLIPImageProcessor.from_pretrained(folder, subfolder="image_processor")
        parts["image_encoder"] = load_whole(CLIPVisionModel, folder, subfolder="image_encoder", **options)
    pipeline = WanImageToVideoPipeline(vae=None, scheduler=None, **parts)
    return WanEncoders(pipeline.to(device), files)


def _require_template(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer with which the pipeline would cut the template at another place than it ends."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import DEFAULT_PROMPT_TEMPLATE

    expected = DEFAULT_PROMPT_TEMPLATE["crop_start"]
    tokens = len(tokenizer(DEFAULT_PROMPT_TEMPLATE["template"].partition("{}")[0]).input_ids)
    if tokens != expected or tokenizer.padding_side != "right":
        raise ValueError(
            f"the tokenizer in {folder / 'tokenizer'} makes {tokens} tokens of the prompt template and pads "
            f"on the {tokenizer.padding_side}, expected {expected} and right, as Llama 3's of "
            "hunyuanvideo-community/HunyuanVideo; download that one"
        )
