"""Conditions of an `fp-lab encode` cache: their encoders, and the empty caption's embeddings."""

from pathlib import Path

from safetensors.torch import save

from fp_data.atomic import replacing
from fp_data.tensor_file import read_tensors
from fp_lab.conditions.encoder_files import EncoderFiles
from fp_lab.shapes import EncodedText
from fp_lab.weights.files import tensors_sha256

EMPTY = "empty.safetensors"
"""File name of the empty caption's embeddings, beside the shards."""
_ENTRY = "sha256"
_AGAIN = "run the command that made the cache again"


def text_maker(files: EncoderFiles, identity: str) -> str:
    """Describe the text encoders, in one line for the manifest; precision is kept apart.

    Args:
        files: files of the encoders.
        identity: digest of the files.
    """
    return f"{files.family} {identity}, {files.longest} tokens"


def image_maker(files: EncoderFiles, identity: str) -> str:
    """Describe the image encoder, in one line for the manifest."""
    return f"{files.family} {identity}"


def read_empty(cache: Path) -> EncodedText:
    """Read the empty caption's embeddings of a cache, for guidance and dropped captions without encoders.

    Raises:
        ValueError: There are no such embeddings, or they are damaged.
    """
    path = cache / EMPTY
    if not path.is_file():
        raise ValueError(f"{path}: is missing; {_AGAIN}")
    tensors, metadata = read_tensors(path, _AGAIN)
    if (found := tensors_sha256(tensors)) != (expected := metadata.get(_ENTRY)):
        raise ValueError(f"{path}: is damaged: sha256 {found}, expected {expected}; {_AGAIN}")
    return EncodedText.of({name: tensor.clone() for name, tensor in tensors.items()})


def write_empty(cache: Path, empty: EncodedText) -> None:
    """Write the empty caption's embeddings beside the shards, in one step."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in empty.tensors.items()}
    with replacing(cache / EMPTY) as unfinished:
        unfinished.write_bytes(save(tensors, {_ENTRY: tensors_sha256(tensors)}))
