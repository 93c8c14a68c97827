"""Sections of a video in the making, on disk: an interrupted one goes on where it was."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fp_lab.lab.atomic import replacing
from fp_lab.rollout import RolledSection

_KEY = "made_by"


class KeptSections(Mapping[int, Tensor]):
    """Latents of finished sections by their index, each read when it is asked for.

    Args:
        folder: of the sections, one file each.
        key: all that they depend on; those of another key are removed.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self._known = {int(path.stem): path for path in sorted(folder.glob("*.safetensors"))}
        if any(not self._is_ours(path) for path in self._known.values()):
            self.remove()

    def __getitem__(self, index: int) -> Tensor:
        with safe_open(self._known[index], "pt") as file:
            return file.get_tensor("latents").clone()

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def keeping(self, rolled: Iterable[RolledSection]) -> Iterator[RolledSection]:
        """The same sections, each written before it is passed on."""
        for done in rolled:
            if done.index not in self._known:
                path = self.folder / f"{done.index:05d}.safetensors"
                with replacing(path) as unfinished:
                    save_file({"latents": done.latents.cpu().contiguous()}, unfinished, {_KEY: self.key})
                self._known[done.index] = path
            yield done

    def remove(self) -> None:
        """Forget all."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._known = {}

    def _is_ours(self, path: Path) -> bool:
        try:
            with safe_open(path, "pt") as file:
                return (file.metadata() or {}).get(_KEY) == self.key
        except SafetensorError:
            return False
