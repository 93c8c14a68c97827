"""A small world of one sprite, rendered here: independent of the project's own renderer."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_metrics import FAMILIES, About, Series, WorldTruth

SIZE, FRAMES, RADIUS, SPEED = 64, 24, 12.0, 1.5
PALETTE = ((0.88, 0.16, 0.14), (0.20, 0.76, 0.26), (0.20, 0.34, 0.92), (0.94, 0.94, 0.94))

RenderWorld = Callable[..., WorldTruth]
ScoreVideo = Callable[..., Series]


def _positions(frames: int) -> np.ndarray:
    span = SIZE - 2 * RADIUS
    wave = (SPEED * np.arange(frames) + 14) % (2 * span)  # turns round at the right border
    return np.stack((RADIUS + np.where(wave > span, 2 * span - wave, wave), np.full(frames, 30.0)), 1)


def _render(frames: int = FRAMES, colour: int = 0, squash: float = 1.0) -> WorldTruth:
    y, x = np.indices((SIZE, SIZE)).astype(np.float64)
    ripple = 0.1 * np.sin(2 * np.pi * (x + 2 * y) / 28) + 0.1 * x / SIZE
    background = np.array([0.42, 0.42, 0.44]) + ripple[..., None]
    first = np.array(PALETTE[colour])
    positions = _positions(frames)

    def sprite(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx, dy = x - centre[0], (y - centre[1]) / squash
        alpha = np.clip(0.5 - (np.hypot(dx, dy) - RADIUS) / 1.5, 0, 1)[..., None]
        stripes = 0.5 + 0.5 * np.clip(3 * np.sin(2 * np.pi * (dx + dy) / 13), -1, 1)[..., None]
        return alpha, first * (1 - 0.58 * stripes)

    layers = [sprite(position) for position in positions]
    video = np.stack([background * (1 - alpha) + alpha * look for alpha, look in layers])
    middle = np.array([(SIZE - 1) / 2, (SIZE - 1) / 2])
    return WorldTruth(
        frames=torch.from_numpy((video * 255).round().astype(np.uint8)),
        backgrounds=torch.from_numpy((background * 255).round().astype(np.uint8))[None],
        masks=torch.from_numpy(np.stack([alpha[..., 0] > 0.5 for alpha, _ in layers])),
        positions=torch.from_numpy(positions),
        shape=torch.from_numpy(sprite(middle)[0][..., 0] > 0.5),
        colour=PALETTE[colour],
        second_colour=tuple(0.42 * c for c in PALETTE[colour]),
        palette=PALETTE,
        texture="striped",
        radius=RADIUS,
        speed=SPEED,
        direction=(1.0, 0.0),
    )


@pytest.fixture(scope="session")
def render() -> RenderWorld:
    """``render(frames=24, colour=0, squash=1.0)``: the ground truth of one video."""
    return _render


@pytest.fixture(scope="session")
def truth() -> WorldTruth:
    return _render()


CAPTION = "a red striped ball starting fast right over a smooth grey background"


@pytest.fixture(scope="session")
def about(truth: WorldTruth) -> About:
    """What is known of the true video."""
    return About(prompt=CAPTION, truth=truth)


@pytest.fixture(scope="session")
def video(truth: WorldTruth) -> Tensor:
    """The true video, float32 ``(t, 3, h, w)`` in [0, 1]."""
    return truth.frames.movedim(-1, 1).float() / 255


@pytest.fixture(scope="session")
def measure(truth: WorldTruth) -> ScoreVideo:
    """``measure(name, frames)``: the series of one estimator."""

    def run(name: str, frames: Tensor, known: WorldTruth = truth) -> Series:
        estimator = FAMILIES[name.partition("/")[0]][name](About(prompt=CAPTION, truth=known))
        estimator.update(frames)
        return estimator.compute()

    return run
