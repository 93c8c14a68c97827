"""A backbone with its packer: what is trained, stored and sampled from."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fp_lab.backbones import TinyDiT, TinyDiTConfig
from fp_lab.codec import CONFIG_FILE, WEIGHTS_FILE, file_sha256, shipped_folder
from fp_lab.conditions import WordsConfig
from fp_lab.flow import Output
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import Kernel
from fp_lab.shapes import ContextLevel, PackedContext, TextCondition


class FramePackModel(nn.Module):
    """Backbone and context packer."""

    def __init__(self, backbone: TinyDiT, kernels: Iterable[Kernel], output: Output) -> None:
        super().__init__()
        self.backbone = backbone
        self.kernels = tuple(kernels)
        self.output = output
        self.packer = ContextPacker(self.kernels, backbone.channels, backbone.width, backbone.rope)
        self.sha256 = "untrained"

    def pack(self, context: tuple[ContextLevel, ...]) -> PackedContext | None:
        """Tokens and phases of a context; they serve every denoising step of a section."""
        packed: PackedContext | None = self.packer(context)
        return packed

    def forward(
        self, noisy: Tensor, times: Tensor, sigmas: Tensor, text: TextCondition, context: PackedContext | None
    ) -> Tensor:
        """Predict for a noisy section ``b c t h w`` at noise levels ``b`` (or ``b n``) in [0, 1]."""
        prediction: Tensor = self.backbone(noisy, times, 1000 * sigmas, text, context)
        return prediction

    def section_tokens(self, frames: int, rows: int, columns: int) -> int:
        """Tokens of a section at the base kernel."""
        return frames * (-(-rows // 2)) * (-(-columns // 2))

    def compile_blocks(self) -> None:
        """Compile the transformer's blocks in place (names of weights stay), for runs of many steps.

        The first steps take a minute or two; the packer and what is around the blocks stay as they are.
        """
        for block in self.backbone.blocks:
            block.compile(dynamic=True)

    def save(self, folder: Path) -> None:
        """Write config and weights (safetensors) into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "backbone": asdict(self.backbone.config),
            "kernels": [[k.t, k.h, k.w] for k in self.kernels],
            "output": self.output,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / WEIGHTS_FILE)
        self.sha256 = file_sha256(folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, source: str | Path = "shipped") -> "FramePackModel":
        """Load a model: ``shipped`` for the base that comes with fp_lab, or a folder written by `save`.

        Raises:
            ValueError: if the folder holds no model.
        """
        folder = shipped_folder("base") if source == "shipped" else Path(source)
        if not (folder / WEIGHTS_FILE).is_file():
            raise ValueError(
                f"no model in {folder}: expected {CONFIG_FILE} and {WEIGHTS_FILE}; "
                "train a base with `fp-lab pretrain` or use the shipped one"
            )
        config = json.loads((folder / CONFIG_FILE).read_text())
        kernels = [Kernel(*sizes) for sizes in config["kernels"]]
        model = cls(TinyDiT(_backbone_config(config["backbone"])), kernels, config["output"])
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
        model.sha256 = file_sha256(folder / WEIGHTS_FILE)
        return model

    def with_kernels(self, kernels: Iterable[Kernel]) -> "FramePackModel":
        """A model for another schedule: the same backbone, projections interpolated from the base's."""
        model = FramePackModel(self.backbone, kernels, self.output)
        model.packer.initialise_from(self.packer.base_projection())
        return model


def _backbone_config(stored: dict[str, Any]) -> TinyDiTConfig:
    words = dict(stored["words"])
    words["words"] = tuple(words["words"])
    return TinyDiTConfig(**{**stored, "words": WordsConfig(**words)})
