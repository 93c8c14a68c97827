import pytest
import torch
from torch import Tensor

from fp_lab.packing.assemble import arrange, assemble
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import parse
from fp_lab.recipe.orders import Section
from fp_lab.sampling.recency import RecencyConfig, recency_bias
from tiny_rollout import model_for


def frames_of(name: str, section: Section, options: ContextConfig | None = None) -> tuple[Tensor, Tensor]:
    """Mean frame of each token of a packed context, one token per place, and the section's frames."""
    latents = torch.randn(1, 4, 30, 2, 2)
    missing = "drop" if options is None else options.missing
    context = assemble(latents, [arrange(parse(name), section, 30, options)], missing)
    packed = model_for(name).pack(context.context)
    assert packed is not None
    assert packed.frames is not None
    assert packed.frames.shape == packed.tokens.shape[:2]
    return packed.frames, context.times


def test_a_token_lies_at_the_mean_of_its_frames() -> None:
    """4 frames by kernel 2, then 1 by kernel 1, before frames 16 to 19."""
    section = Section((16, 17, 18, 19), frozenset(range(16)))
    frames, times = frames_of("td_f4k2f1k1_g4", section)
    assert frames.tolist() == [[11.5, 13.5, 15.0]]
    assert times.tolist() == [[16, 17, 18, 19]]
    averaged, _ = frames_of("tc_f4k2f1k1_g4", section)
    assert averaged.tolist() == [[11.5, 13.5, 15.0, 5.0]], "the tail is the frames 0 to 10"


def test_tokens_that_are_filled_in_part_repeat_their_last_frame() -> None:
    """As latents and phases are padded: of frames 0, 1 and 2 the second token has frame 2 twice."""
    frames, _ = frames_of("td_f4k2f1k1_g4", Section((4, 5, 6, 7), frozenset(range(4))))
    assert frames.tolist() == [[0.5, 2.0, 3.0]]


FRAMES = torch.tensor([[0.0, 11.5, 13.5, 15.0, 21.0]])
SECTION = torch.tensor([[16, 17, 18, 19]])


@pytest.mark.parametrize(
    ("config", "bias"),
    [
        (RecencyConfig(0.5), [-8.0, -2.25, -1.25, -0.5, -1.0]),
        (RecencyConfig(0.5, 2.0), [-128.0, -10.125, -3.125, -0.5, -2.0]),
        (RecencyConfig(1.0, 0.5, recent=1), [-(15**0.5), -(3.5**0.5), -(1.5**0.5), 0.0, -1.0]),
        (RecencyConfig(1.0, sink=1), [0.0, -4.5, -2.5, -1.0, -2.0]),
        (RecencyConfig(0.0), [0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_bias_falls_with_a_power_of_the_distance(config: RecencyConfig, bias: list[float]) -> None:
    """Distances 16, 4.5, 2.5, 1 from frame 16, and 2 from frame 19, by hand."""
    torch.testing.assert_close(recency_bias(FRAMES, SECTION, config), torch.tensor([bias]))


@pytest.mark.parametrize(
    ("name", "options", "known"),
    [
        ("td_f4k2f1k1_g4", ContextConfig(missing="zero"), 1),  # frames before the video, as zeros
        ("tc_f4k2f1k1_g4", ContextConfig(positions="relative"), 16),  # a tail lies before the levels
    ],
)
def test_what_lies_before_the_first_frame_is_far_and_no_sink(
    name: str, options: ContextConfig, known: int
) -> None:
    section = Section(tuple(range(known, known + 4)), frozenset(range(known)))
    frames, times = frames_of(name, section, options)
    before = frames < 0
    assert before.any()
    for sink in (0, 1):
        bias = recency_bias(frames, times, RecencyConfig(1.0, sink=sink))
        assert (bias[before] == frames[before] - times.min()).all()


def test_between_two_sections_the_nearer_one_counts() -> None:
    times = torch.tensor([[4, 5, 20, 21]])
    assert recency_bias(torch.tensor([[8.0, 18.0]]), times, RecencyConfig(1.0)).tolist() == [[-3.0, -2.0]]


def test_with_relative_positions_the_first_frame_stays_as_near() -> None:
    first = []
    for begin in (10, 22):
        section = Section(tuple(range(begin, begin + 4)), frozenset(range(begin)))
        frames, times = frames_of("f1k1_x_f4k2f1k1_g4", section, ContextConfig(positions="relative"))
        first.append(recency_bias(frames, times, RecencyConfig(1.0))[0, 0].item())
    assert first == [-6.0, -6.0], "one of itself, four and one of the history"


@pytest.mark.parametrize(
    ("field", "value"), [("beta", -0.1), ("gamma", 0.0), ("recent", -1), ("sink", -1), ("beta", float("nan"))]
)
def test_what_would_favour_far_frames_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"sampling\.recency\.{field}: got {value}"):
        RecencyConfig(**{field: value})  # type: ignore[arg-type]
