"""Low-rank adapters (LoRA, https://arxiv.org/abs/2106.09685) of diffusers' transformers, by peft."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fp_lab.checks.ranges import check_ranges
from fp_lab.weights.files import read_weights

LORA_FILE = "pytorch_lora_weights.safetensors"
"""As diffusers' pipelines look for it."""
_LINEARS = {
    "attention": (
        "to_q",
        "to_k",
        "to_v",
        r"to_out\.0",
        "add_q_proj",
        "add_k_proj",
        "add_v_proj",
        "to_add_out",
    ),
    "mlp": (r"net\.0\.proj", r"net\.2", "proj_mlp", "proj_out"),
}
_BLOCKS = r"(?:transformer_blocks|single_transformer_blocks|blocks)\.\d+\."


@dataclass(frozen=True)
class LoraConfig:
    """Which weights get an adapter, and of what size.

    Attributes:
        rank: of the update B A of a weight.
        alpha: its scale is alpha / rank.
        dropout: of its input, in training.
        targets: linear layers of the blocks: ``attention``, ``mlp``.
    """

    rank: int = 16
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ("attention", "mlp")

    def __post_init__(self) -> None:
        """Refuse what is no adapter."""
        check_ranges("model.lora", self, rank="[1, inf)", alpha="(0, inf)", dropout="[0, 1)")
        if unknown := sorted(set(self.targets) - set(_LINEARS)) or not self.targets:
            raise ValueError(
                f"model.lora.targets: got {unknown or 'none'}, expected some of {', '.join(_LINEARS)}"
            )

    @property
    def pattern(self) -> str:
        """Regular expression of the names of their layers in a transformer."""
        names = "|".join(name for target in self.targets for name in _LINEARS[target])
        return rf"{_BLOCKS}(?:.*\.)?(?:{names})"


def add_lora(transformer: Any, config: LoraConfig) -> None:
    """Freeze a transformer of diffusers and give it adapters, which change nothing until they are trained.

    Adapters are float32, whatever the weights are.

    Args:
        transformer: without an adapter.
        config: which.
    """
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig as PeftConfig

    transformer.requires_grad_(False)
    transformer.add_adapter(
        PeftConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=config.pattern,
        )
    )
    cast_training_params([transformer], torch.float32)


def save_lora(transformer: Any, folder: Path) -> None:
    """Write adapters so that `load_lora_weights` of diffusers' pipelines reads them."""
    from diffusers.loaders import HunyuanVideoLoraLoaderMixin
    from peft.utils import get_peft_model_state_dict

    # the form is the same for every transformer: names behind "transformer.", peft's config as metadata
    HunyuanVideoLoraLoaderMixin.save_lora_weights(
        folder,
        transformer_lora_layers=get_peft_model_state_dict(transformer),
        transformer_lora_adapter_metadata=transformer.peft_config["default"].to_dict(),
    )


def load_lora(transformer: Any, folder: Path, config: LoraConfig) -> None:
    """Add adapters and read their weights from where `save_lora` has written them.

    Raises:
        ValueError: there are none, or they are of another model.
    """
    from peft.utils import set_peft_model_state_dict

    path = folder / LORA_FILE
    if not path.is_file():
        raise ValueError(f"no adapters in {folder}: expected {LORA_FILE}, as diffusers and fp-lab write it")
    add_lora(transformer, config)
    state = {name.removeprefix("transformer."): value for name, value in read_weights(path).items()}
    loaded: Any = set_peft_model_state_dict(transformer, state)
    wanted = {name for name, _ in transformer.named_parameters() if ".lora_" in name}
    missing = sorted(wanted & set(loaded.missing_keys))
    if missing or loaded.unexpected_keys:
        raise ValueError(
            f"{path} does not fit this transformer with {asdict(config)}: missing {missing[:3]}, unexpected "
            f"{sorted(loaded.unexpected_keys)[:3]}; load it with the base that it was trained with"
        )


def trainable(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that learn, by name."""
    return ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)


def targeted(transformer: nn.Module, config: LoraConfig) -> list[str]:
    """Names of the linear layers that get an adapter."""
    pattern = re.compile(config.pattern)
    return [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and pattern.fullmatch(name)
    ]
