"""Suppression of banners and progress bars of libraries."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress lightning's banners, and advice that does not fit seeded batches made in memory."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers",
            ".*dataloader is not resumable",
            ".*isinstance\\(treespec, LeafSpec\\)",
            ".*IterableDataset.*has `__len__`",
            # a checkpoint of an earlier version, by a callback that is no longer needed
            "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
        ):
            warnings.filterwarnings("ignore", message)
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Suppress progress bars of diffusers and transformers, and diffusers' hints on options of the hub."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    shown = [part for part in (of_diffusers, of_transformers) if part.is_progress_bar_enabled()]
    for part in shown:
        part.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*local_dir_use_symlinks")
            yield
    finally:
        for part in shown:
            part.enable_progress_bar()
