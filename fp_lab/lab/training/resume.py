"""Checkpoints to resume an interrupted training from: writing, reading and checks."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from fp_data.atomic import replacing
from fp_data.damaged import set_aside


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints in one step, so that a killed write leaves the previous one intact.

    Lightning's own writer uses the folder of temporary files, which may be small or on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        with replacing(Path(path), alone=True) as unfinished, unfinished.open("wb") as file:
            torch.save(checkpoint, file)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of lightning's onto the CPU; only tensors and plain data are unpickled.

    All of its content is compared with its checksums, which torch ignores: 15 ms of a core for 40 MB.

    Raises:
        ValueError: the file is damaged, or no checkpoint.
    """
    if fault := _fault(path):
        raise ValueError(f"{path}: {fault}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        assert isinstance(found["global_step"], int)
    # torch has many errors for what it has not written, and its advice is to unpickle
    except Exception:
        raise ValueError(f"{path}: is no checkpoint of a training") from None
    return dict(found)


def usable_checkpoint(path: Path, say: Callable[[str], object]) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none, or where it is damaged and set aside."""
    if not path.exists():
        return None
    try:
        return read_checkpoint(path)
    except ValueError as error:
        begin_again(path, str(error), say)
        return None


def begin_again(path: Path, reason: str, say: Callable[[str], object]) -> None:
    """Set aside a checkpoint that no training can resume from, and say why.

    Args:
        path: path of the checkpoint.
        reason: why no training can resume from it, with the path.
        say: called with the message.
    """
    say(f"{reason}; it is now {set_aside(path).name}, and the training begins again")


def _fault(path: Path) -> str:
    """Fault of a checkpoint's archive; empty if there is none."""
    if path.is_dir():
        return "is a folder, expected a checkpoint of a training"
    if not path.stat().st_size:
        return "is empty"
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                # torch packs nothing and sets no attribute; of what it takes for a folder it reads nothing
                parts = archive.infolist()
                odd = any(part.external_attr or part.file_size != part.compress_size for part in parts)
                damaged = odd or archive.testzip() is not None
        except zipfile.BadZipFile:  # the list of what is inside stands at the end
            return "is cut off, or no checkpoint of a training"
        except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error):
            damaged = True  # the list itself is wrong: where a part is, or how it is packed
    return "is damaged: its content is not what was written" if damaged else ""
