"""The loss by noise level: what lies where, and what does not count."""

import torch

from fp_lab.flow.loss_bins import BINS, bin_frame_losses, bin_losses
from fp_lab.flow.matching import velocity_loss


def test_losses_are_sorted_into_four_equal_bins() -> None:
    sigmas = torch.tensor([0.0, 0.2499, 0.25, 0.6, 0.75, 1.0])
    losses = torch.tensor([1.0, 3.0, 10.0, 20.0, 100.0, 300.0], requires_grad=True)
    bins = bin_losses(losses, sigmas)
    assert bins.sums.tolist() == [4.0, 10.0, 20.0, 400.0]
    assert bins.counts.tolist() == [2.0, 1.0, 1.0, 2.0]
    assert not bins.sums.requires_grad


def test_what_does_not_count_is_in_no_bin() -> None:
    bins = bin_losses(torch.ones(3), torch.tensor([0.1, 0.1, 0.9]), torch.tensor([True, False, False]))
    assert bins.counts.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert bins.sums.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_frames_of_a_window_are_binned_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    velocity, target = (torch.randn(2, 3, 4, 2, 2, generator=generator) for _ in range(2))
    levels = torch.tensor([[0.0, 0.1, 0.3, 0.9], [0.0, 0.6, 0.6, 1.0]])
    bins = bin_frame_losses(velocity, target, levels)
    expected = torch.zeros(BINS)
    for video in range(2):
        for frame in range(1, 4):  # the first frame of each is given
            one = (slice(video, video + 1), slice(None), slice(frame, frame + 1))
            loss = velocity_loss(velocity[one], target[one])
            expected[min(int(levels[video, frame] * BINS), BINS - 1)] += loss.item()
    torch.testing.assert_close(bins.sums, expected)
    assert bins.counts.tolist() == [1.0, 1.0, 2.0, 2.0]
