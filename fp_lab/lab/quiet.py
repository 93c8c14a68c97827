"""Lightning without its greetings."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without lightning's greetings, and without advice that does not fit seeded batches made in memory."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers",
            ".*dataloader is not resumable",
            ".*isinstance\\(treespec, LeafSpec\\)",
            ".*IterableDataset.*has `__len__`",
        ):
            warnings.filterwarnings("ignore", message)
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
