"""Recency: history counts the less in attention the farther away it is."""

from dataclasses import dataclass

from torch import Tensor

from fp_lab.checks.ranges import check_ranges


@dataclass(frozen=True)
class RecencyConfig:
    """Bias -beta * distance^gamma on the logits of the history's keys, after Recency Forcing.

    There (https://arxiv.org/abs/2609.19729) beta is as large as the history is long and the distance is a
    share of that length, gamma doubles with every denoising step, and neither the first three nor the nearest
    three frames have a bias. Here the distance is in frames and gamma is the same at every step.

    Attributes:
        beta: strength; 0 samples without a bias.
        gamma: exponent of the distance.
        recent: nearest frames without a bias; the distance counts from the last of them.
        sink: first frames of the video without a bias; with relative positions those that the recipe keeps.
    """

    beta: float = 0.0
    gamma: float = 1.0
    recent: int = 0
    sink: int = 0

    def __post_init__(self) -> None:
        """Refuse what would make far frames count more."""
        ranges = {"beta": "[0, inf)", "gamma": "(0, inf)", "recent": "[0, inf)", "sink": "[0, inf)"}
        check_ranges("sampling.recency", self, **ranges)


def recency_bias(frames: Tensor, times: Tensor, config: RecencyConfig) -> Tensor:
    """Bias ``b n`` of a context's tokens, at most 0.

    The distance of a token is that of the mean of its frames from the nearest frame of the section, 1 for a
    neighbour, as rotary phases place them: with relative positions it is bounded however long the video.

    Args:
        frames: mean frame index of each token, ``b n``.
        times: frame indices of the section, ``b t``.
        config: strength, exponent, frames without a bias.
    """
    distance = (frames[:, :, None] - times[:, None].to(frames)).abs().amin(2)
    bias = -config.beta * (distance - config.recent).clamp_min(0) ** config.gamma
    # below 0 lie frames before the video, and with relative positions a tail: the farthest, and no sink
    return bias.masked_fill((frames >= 0) & (frames < config.sink), 0.0)
