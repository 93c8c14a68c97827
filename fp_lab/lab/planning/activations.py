"""Activation memory by saved-tensor hooks: bytes kept for the backward pass, equal on every device."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, UntypedStorage, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

_OUTSIDE = -1


@dataclass
class Activations:
    """Storages that forward passes have saved, by address, without parameters and buffers.

    Attributes:
        saved: block that first saved each storage (-1: none), and the storage.
        inputs: inputs of the blocks, which checkpointing keeps.
    """

    saved: dict[int, tuple[int, UntypedStorage]] = field(default_factory=dict)
    inputs: dict[int, UntypedStorage] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes kept without checkpointing."""
        return sum(storage.nbytes() for _, storage in self.saved.values())

    @property
    def checkpointed(self) -> int:
        """Bytes alive while the block that keeps most is recomputed, with every block checkpointed."""
        sizes = {_OUTSIDE: 0}
        for address, (block, storage) in self.saved.items():
            if address not in self.inputs:
                sizes[block] = sizes.get(block, 0) + storage.nbytes()
        outside = sizes.pop(_OUTSIDE)
        return outside + sum(s.nbytes() for s in self.inputs.values()) + max(sizes.values(), default=0)


@contextmanager
def watched(module: nn.Module, blocks: Sequence[nn.Module] = ()) -> Iterator[Activations]:
    """Count what forward passes of a module save for the backward pass, each storage once.

    Args:
        module: module to watch; its parameters and buffers do not count.
        blocks: blocks that checkpointing would recompute one by one.
    """
    kept = Activations()
    own = {_address(t.untyped_storage()) for t in (*module.parameters(), *module.buffers())}
    current: list[int] = [_OUTSIDE]

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # kept: the address of a freed one may come again
        if _address(storage) not in own:
            kept.saved.setdefault(_address(storage), (current[-1], storage))
        return tensor

    def enter(index: int) -> Any:
        def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    kept.inputs[_address(leaf.untyped_storage())] = leaf.untyped_storage()
            current.append(index)

        return hook

    def leave(block: nn.Module, args: Any, output: Any) -> None:
        current.pop()

    with ExitStack() as stack:
        for index, block in enumerate(blocks):
            stack.callback(block.register_forward_pre_hook(enter(index), with_kwargs=True).remove)
            stack.callback(block.register_forward_hook(leave).remove)
        stack.enter_context(saved_tensors_hooks(save, lambda tensor: tensor))
        yield kept


def _address(storage: UntypedStorage) -> int:
    address: int = StorageWeakRef(storage).cdata
    return address
