"""Finished sections of a video on disk, to resume an interrupted generation."""

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fp_data.atomic import replacing
from fp_data.damaged import set_aside
from fp_lab.sampling.rollout import RolledSection
from fp_lab.weights.files import tensors_sha256

_KEY, _SHA256 = "made_by", "sha256"


class KeptSections(Mapping[int, Tensor]):
    """Latents of finished sections by index, each read when needed.

    Args:
        folder: folder of the sections, one file each.
        key: key of all that sections depend on; those of another key are removed.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self._known = {int(path.stem): path for path in sorted(folder.glob("*.safetensors"))}
        if {self._made_by(index) for index in tuple(self._known)} - {self.key, None}:
            self.remove()

    def __getitem__(self, index: int) -> Tensor:
        with safe_open(self._known[index], "pt") as file:
            return file.get_tensor("latents").clone()

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def keeping(self, rolled: Iterable[RolledSection]) -> Iterator[RolledSection]:
        """Yield the same sections, each written before it is passed on."""
        for done in rolled:
            if done.index not in self._known:
                path = self.folder / f"{done.index:05d}.safetensors"
                with replacing(path) as unfinished:
                    latents = {"latents": done.latents.cpu().contiguous()}
                    save_file(latents, unfinished, {_KEY: self.key, _SHA256: tensors_sha256(latents)})
                self._known[done.index] = path
            yield done

    def remove(self) -> None:
        """Remove all sections."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._known = {}

    def _made_by(self, index: int) -> str | None:
        """Key of a section; None for a damaged one, which is set aside and made again."""
        path = self._known[index]
        try:
            with safe_open(path, "pt") as file:
                latents, metadata = {"latents": file.get_tensor("latents")}, file.metadata() or {}
        except (OSError, SafetensorError):
            fault = "is cut off, or no section of a video"
        else:
            if metadata.get(_SHA256) == tensors_sha256(latents):
                return metadata.get(_KEY, "")
            fault = "is damaged: its content is not what was written"
        del self._known[index]
        warnings.warn(f"{path}: {fault}; it is now {set_aside(path).name}, and made again", stacklevel=3)
        return None
