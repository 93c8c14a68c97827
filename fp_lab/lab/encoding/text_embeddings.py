"""Caption embeddings on disk, one file each; encoders are loaded only for missing ones."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fp_carriers import cache_folder
from fp_data.atomic import replacing
from fp_data.damaged import naming_damage, parse_json, set_aside
from fp_data.tensor_file import read_tensors
from fp_lab.conditions.collate import collate
from fp_lab.conditions.encoder_files import EncoderFiles
from fp_lab.conditions.encoders import load_encoders
from fp_lab.lab.files.weights import weights_identity
from fp_lab.shapes import Caption, EncodedText, TextCondition

_ENTRY = "text"
_SHOWN = 40  # characters of a caption in a message


class EncodedTexts:
    """Embeddings of captions by the text encoders of one model, on disk.

    The name of a caption's file is a hash of all that its embedding depends on: family, encoders, precision,
    length and caption. So captions of several models share one folder, an interrupted encoding resumes, and
    no outdated embedding is used.
    """

    def __init__(
        self,
        files: EncoderFiles,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
        folder: Path | None = None,
    ) -> None:
        """Set up without encoding anything yet.

        Args:
            files: files of the encoders, see `fp_lab.conditions.encoder_files.find_encoders`.
            dtype: data type of the encoders' weights and of the embeddings.
            device: device of the encoders and of the returned conditions.
            folder: folder of the embeddings; by default ``texts`` in the cache folder, $FP_LAB_CACHE.

        Raises:
            ValueError: a part of the encoders is missing.
        """
        self.files = files
        self.dtype = dtype
        self.device = torch.device(device)
        self.folder = cache_folder() / "texts" if folder is None else folder
        self.identity = weights_identity(files.text_files(), files.text_folder)

    def __call__(self, captions: Sequence[Caption], images: Tensor | None = None) -> TextCondition:
        """Return the condition of a batch, encoding missing captions.

        Args:
            captions: one caption per item, or its embedding by the same encoders.
            images: embeddings of first frames, ``b i e``, for models that take them.
        """
        return collate(self.files.family, self.encoded(captions), images, self.files.longest)

    def encoded(self, captions: Sequence[Caption]) -> list[EncodedText]:
        """Return embeddings of captions on `device`, encoding missing ones."""
        self.encode(caption for caption in captions if isinstance(caption, str))
        return [
            self._read(caption) if isinstance(caption, str) else caption.to(self.device)
            for caption in captions
        ]

    def keep(self, caption: str, text: EncodedText) -> None:
        """Store an embedding that the same encoders have made elsewhere."""
        if not self._is_whole(caption):
            self._write(caption, text)

    def encode(self, captions: Iterable[str], progress: Callable[[int, int], None] | None = None) -> int:
        """Encode missing and damaged captions, each written as soon as it is done.

        Warns of each caption that is longer than the encoders read, at every call.

        Args:
            captions: any number of captions; the encoders are loaded once for all.
            progress: called with the number of captions done and the total, of those that need encoding.

        Returns:
            Number of encoded captions.
        """
        wanted = tuple(dict.fromkeys(captions))
        missing = [caption for caption in wanted if not self._is_whole(caption)]
        self._encode(missing, progress)
        for caption in wanted:
            self._warn_if_cut(caption)
        return len(missing)

    def _encode(self, missing: Sequence[str], progress: Callable[[int, int], None] | None) -> None:
        if not missing:
            return
        with load_encoders(self.files, self.dtype, self.device, only="texts") as encoders:
            for done, caption in enumerate(missing, start=1):
                (text,) = encoders.texts([caption])
                self._write(caption, text, encoders.tokens(caption))
                if progress:
                    progress(done, len(missing))

    def _warn_if_cut(self, caption: str) -> None:
        with safe_open(self.path(caption), framework="pt") as file:
            tokens = parse_json(file.metadata()[_ENTRY]).get("tokens", 0)
        if tokens > self.files.longest:
            begin = caption if len(caption) <= _SHOWN else f"{caption[:_SHOWN]}..."
            warnings.warn(
                f"caption {begin!r} has {tokens} tokens, of which the model is told {self.files.longest}: "
                "the rest is not looked at",
                stacklevel=4,
            )

    def path(self, caption: str) -> Path:
        """Path of a caption's file, which need not exist."""
        known = (self.files.family, self.identity, str(self.dtype), self.files.longest, caption)
        return self.folder / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()}.safetensors"

    def _is_whole(self, caption: str) -> bool:
        path = self.path(caption)
        if not path.is_file():
            return False
        try:
            self._read(caption)
        except ValueError as error:
            kept = set_aside(path)
            warnings.warn(f"{error}; it is now {kept.name}, and encoded again", stacklevel=4)
            return False
        return True

    def _read(self, caption: str) -> EncodedText:
        path = self.path(caption)
        tensors, metadata = read_tensors(path)
        with naming_damage(path):
            expected = parse_json(metadata[_ENTRY])["sha256"]
        if expected != _digest(tensors):
            raise ValueError(
                f"{path}: is damaged: its embeddings have another hash than when they were written"
            )
        # copies: what safe_open gives is the file itself, mapped into memory
        return EncodedText.of({name: tensor.to(self.device, copy=True) for name, tensor in tensors.items()})

    def _write(self, caption: str, text: EncodedText, tokens: int = 0) -> None:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in text.tensors.items()}
        known = {
            "caption": caption,
            "family": self.files.family,
            "sha256": _digest(tensors),
            "tokens": tokens,
        }
        with replacing(self.path(caption)) as unfinished:
            save_file(tensors, unfinished, {_ENTRY: json.dumps(known)})


def _digest(tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
