"""A backbone with its packer: what is trained, stored and sampled from."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import lru_cache
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fp_lab.backbones.diffusers.lora import LoraConfig, add_lora, load_lora, save_lora
from fp_lab.backbones.protocol import BACKBONES, TRANSFORMER, Backbone
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.checks.finite import check_weights
from fp_lab.checks.plain import from_plain
from fp_lab.flow.matching import Output
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.context import PACKERS, ContextConfig
from fp_lab.packing.packer import ContextPacker
from fp_lab.packing.rope import RopeConfig
from fp_lab.recipe import Kernel
from fp_lab.registry import foreign_module, require_plugins
from fp_lab.shapes import ContextLevel, ContextMemory, PackedContext, TextCondition
from fp_lab.weights.files import CONFIG_FILE, WEIGHTS_FILE, building, file_sha256, read_config, read_weights
from fp_lab.weights.shipped import own_folder


class FramePackModel(nn.Module):
    """Backbone and context packer, with what they were trained to see of the history.

    Attributes:
        sha256: of the weights that are stored in the model's folder.
        source: where the weights of a transformer of diffusers are from; None for one of fp_lab's own.
        lora: its adapters, which are trained in place of those weights.
    """

    def __init__(
        self,
        backbone: Backbone,
        kernels: Iterable[Kernel],
        output: Output,
        context: ContextConfig | None = None,
        codebook: Codebook | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            backbone: the transformer.
            kernels: of the schedule.
            output: what the backbone predicts.
            context: options of the context; by default all defaults.
            codebook: of a discrete history; None for a continuous one.
        """
        super().__init__()
        self.backbone: Any = backbone
        self.kernels = tuple(kernels)
        self.output = output
        self.context = context or ContextConfig()
        self.codebook = codebook
        kind: type[ContextPacker] = PACKERS.choose("context.packer", self.context.packer)
        self.packer = kind(
            self.kernels,
            backbone.channels,
            backbone.width,
            backbone.rope,
            self.context,
            (backbone.depth, backbone.heads),
        )
        self.sha256 = "untrained"
        self.source: str | None = None
        self.lora: LoraConfig | None = None

    def history(self, latents: Tensor) -> Tensor:
        """Latents ``b c t h w`` as the context may know them: discretised, where there is a codebook."""
        if self.codebook is None:
            return latents
        discrete: Tensor = self.codebook(latents)
        return discrete

    def pack(
        self,
        context: tuple[ContextLevel, ...],
        levels: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> PackedContext | None:
        """Tokens and phases of a context; they serve every denoising step of a section.

        Where there is a codebook, all of its pixels are centroids (FramePack paper v3, eq. 6): noise that it
        was given, averages of a tail and zeros for missing frames are discretised too, in training as in
        sampling.

        Args:
            context: of a sample.
            levels: noise levels ``b`` that its latents were given, in [0, 1]; None for clean ones.
            rope: frequencies in place of the backbone's.
        """
        context = tuple(replace(level, latents=self.history(level.latents)) for level in context)
        packed: PackedContext | None = self.packer(context, levels, **_rope(self.packer.forward, rope))
        return packed

    def memory_of(
        self, packed: PackedContext | None, text: TextCondition
    ) -> PackedContext | ContextMemory | None:
        """What denoising steps attend to: the keys and values of an isolated context, else the context."""
        # a context that attends to the noisy section has other keys at every step
        if packed is None or self.context.attention != "isolated":
            return packed
        return replace(self.backbone.remember(packed, text), key_bias=packed.key_bias)

    def prepare(
        self,
        times: Tensor,
        size: tuple[int, int],
        text: TextCondition,
        context: PackedContext | ContextMemory | None,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> Any:
        """Everything that the denoising steps of a section share; see `Backbone.prepare`."""
        return self.backbone.prepare(
            times, size, text, context, moments, **_rope(self.backbone.prepare, rope)
        )

    def denoise(self, noisy: Tensor, sigmas: Tensor, section: Any) -> Tensor:
        """Predict for a prepared section: noisy latents ``b c t h w`` at noise levels ``b`` or ``b t``."""
        return self.backbone.denoise(noisy, 1000 * sigmas, section)

    def forward(
        self,
        noisy: Tensor,
        times: Tensor,
        sigmas: Tensor,
        text: TextCondition,
        context: PackedContext | ContextMemory | None,
        attention_mask: Tensor | None = None,
        moments: Tensor | None = None,
    ) -> Tensor:
        """Predict for a noisy section ``b c t h w`` at noise levels ``b`` (or ``b t``) in [0, 1]."""
        prediction: Tensor = self.backbone(
            noisy, times, 1000 * sigmas, text, context, attention_mask, moments
        )
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
        """Write config and weights (safetensors) into a folder; a transformer of diffusers in its own format.

        Of one with adapters they alone are written, so that diffusers' pipelines can read them; its weights
        stay where they are. A packer whose kernels were all released with FramePack is stored in its
        transformer too, so that diffusers' FramePack pipeline can use the folder.

        Raises:
            NotFinite: weights are not; nothing is written.
        """
        state = self.state_dict()
        kept = {name for name in state if name.startswith("backbone.") and ".lora_" not in name}
        written = [name for name in state if self.lora is None or name not in kept]
        check_weights({name: state[name] for name in written}, f"model for {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        architecture = BACKBONES.name_of(type(self.backbone))
        foreign = (foreign_module(type(self.backbone)), PACKERS.foreign(self.context.packer))
        config: dict[str, Any] = {
            "architecture": architecture,
            "backbone": None if architecture is None else asdict(self.backbone.config),
            "plugins": [module for module in foreign if module is not None],
            "transformer": None,
            "kernels": [[k.t, k.h, k.w] for k in self.kernels],
            "output": self.output,
            "context": asdict(self.context),
            "codebook": None if self.codebook is None else self.codebook.size,
        }
        if architecture is None:
            config["transformer"] = self._save_transformer(folder)
            state = {name: value for name, value in state.items() if not name.startswith("backbone.")}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
        save_file({k: v.contiguous() for k, v in state.items()}, folder / WEIGHTS_FILE)
        for file in folder.rglob("*.safetensors"):  # safetensors makes files for their owner alone
            shutil.copymode(folder / CONFIG_FILE, file)
        self.sha256 = file_sha256(folder / WEIGHTS_FILE)

    def _save_transformer(self, folder: Path) -> dict[str, Any]:
        """Write a transformer of diffusers, or its adapters alone; where it is."""
        if self.lora is not None:
            save_lora(self.backbone.transformer, folder)
            return {"source": self.source, "lora": asdict(self.lora)}
        self.backbone.store_projections(self.packer)
        self.backbone.transformer.save_pretrained(folder / TRANSFORMER)
        return {"source": None, "lora": None}

    @classmethod
    def load(cls, source: str | Path = "shipped", **options: Any) -> "FramePackModel":
        """Load a model: ``shipped`` for the base that comes with fp_lab, or a folder written by `save`.

        Args:
            source: which.
            options: of diffusers' `from_pretrained` for its transformer, such as ``torch_dtype``.

        Raises:
            ValueError: if the folder holds no model, or weights that are not finite.
        """
        folder, config = _stored(source)
        require_plugins(config.get("plugins", ()), str(folder / CONFIG_FILE))
        weights = read_weights(folder / WEIGHTS_FILE)
        with building(folder / CONFIG_FILE):
            kernels = [Kernel(*sizes) for sizes in config["kernels"]]
            if config["backbone"] is not None:
                kind = BACKBONES.choose("architecture", config.get("architecture", "tiny"))
                backbone: Any = kind(from_plain(TinyDiTConfig, config["backbone"]))
            else:
                backbone = _transformer(config["transformer"]["source"] or folder, options)
            size = config.get("codebook")
            codebook = None if size is None else Codebook(size, backbone.channels)
            context = from_plain(ContextConfig, config.get("context", {}))
            model = cls(backbone, kernels, config["output"], context, codebook)
            if config["backbone"] is None:
                model._take_up(folder, config["transformer"])
            missing, unexpected = model.load_state_dict(weights, strict=False)
        elsewhere = () if config["backbone"] is not None else ("backbone.",)
        if unexpected or not all(name.startswith(elsewhere) for name in missing):
            raise ValueError(
                f"{folder / WEIGHTS_FILE} does not fit its {CONFIG_FILE}: missing {missing[:3]}, unexpected "
                f"{unexpected[:3]}; one of them was changed or is of another version"
            )
        check_weights(model.state_dict(), str(folder))
        model.sha256 = file_sha256(folder / WEIGHTS_FILE)
        return model

    def _take_up(self, folder: Path, stored: dict[str, Any]) -> None:
        """Where a transformer of diffusers is from, and its adapters."""
        self.source, self.lora = stored["source"], None
        if stored["lora"] is not None:
            self.lora = from_plain(LoraConfig, stored["lora"])
            load_lora(self.backbone.transformer, folder, self.lora)
        self._cast_packer()

    def _cast_packer(self) -> None:
        """The type of the transformer's weights for a packer beside it; as adapters, it learns in float32."""
        self.packer.to(self.backbone.patch.weight.dtype if self.lora is None else torch.float32)

    @classmethod
    def from_transformer(
        cls,
        source: str | Path,
        kernels: Iterable[Kernel],
        context: ContextConfig | None = None,
        codebook: Codebook | None = None,
        lora: LoraConfig | None = None,
        **options: Any,
    ) -> "FramePackModel":
        """A model over a transformer of diffusers, for any schedule.

        Projections that were released with it are taken as they are, others start by interpolation.

        Args:
            source: a folder in diffusers' format or a hub id, see `load_transformer`.
            kernels: of the schedule.
            context: options of the context.
            codebook: of a discrete history.
            lora: adapters to train in place of the transformer's weights; the packer is trained whole.
            options: of diffusers' `from_pretrained`, such as ``torch_dtype``.

        Raises:
            ValueError: there is no such transformer, or its weights are not finite.
        """
        backbone = _transformer(source, options)
        check_weights(backbone.state_dict(), str(source))
        model = cls(backbone, kernels, "velocity", context, codebook)
        # in this order: released projections replace the interpolated ones where there are any
        model.packer.initialise_from(backbone.patch)
        backbone.load_projections(model.packer)
        model.source, model.lora = _resolved(source), lora
        if lora is not None:
            add_lora(backbone.transformer, lora)
        model._cast_packer()
        return model.train()  # diffusers loads for inference

    def with_kernels(
        self,
        kernels: Iterable[Kernel],
        context: ContextConfig | None = None,
        codebook: Codebook | None = None,
    ) -> "FramePackModel":
        """A model for another schedule: the same backbone, projections that start from those of this one."""
        model = FramePackModel(self.backbone, kernels, self.output, context, codebook)
        model.packer.take_over(self.packer)
        return model


def _rope(method: Callable[..., Any], rope: RopeConfig | None) -> dict[str, RopeConfig]:
    """Argument for a method of packer or backbone; a plugin's may take no other frequencies."""
    if rope is None:
        return {}
    kinds = {name: parameter.kind for name, parameter in signature(method).parameters.items()}
    if "rope" not in kinds and Parameter.VAR_KEYWORD not in kinds.values():
        raise ValueError(
            f"sampling.rope_jitter: got a model whose {method.__qualname__} takes no rope, expected one that "
            "takes rotary frequencies in place of its own"
        )
    return {"rope": rope}


def stored_backbone(source: str | Path = "shipped") -> TinyDiTConfig:
    """The size of a stored model of fp_lab's own; its weights are not read.

    Raises:
        ValueError: there is no such model.
    """
    folder, config = _stored(source)
    if config.get("backbone") is None:
        raise ValueError(f"{folder} is over a transformer of diffusers, expected a model of fp_lab's own")
    return _read_backbone(folder / CONFIG_FILE, json.dumps(config["backbone"]))


@lru_cache(maxsize=8)
def _read_backbone(path: Path, stored: str) -> TinyDiTConfig:
    """The size that a config holds, made once for each content: the arms of a grid share a base."""
    with building(path):
        return from_plain(TinyDiTConfig, json.loads(stored))


def _stored(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """Folder and config of a stored model."""
    folder = own_folder("base", source)
    if not (folder / WEIGHTS_FILE).is_file():
        raise ValueError(
            f"no model in {folder}: expected {CONFIG_FILE} and {WEIGHTS_FILE}; "
            "train a base with `fp-lab pretrain` or use the shipped one"
        )
    return folder, read_config(folder / CONFIG_FILE)


def _resolved(source: str | Path) -> str:
    """A folder with its whole path, a hub id as it is."""
    return str(Path(source).resolve()) if Path(source).is_dir() else str(source)


def _transformer(source: str | Path, options: dict[str, Any]) -> Any:
    from fp_lab.backbones.diffusers.families import load_transformer  # slow to import

    return load_transformer(source, **options)
