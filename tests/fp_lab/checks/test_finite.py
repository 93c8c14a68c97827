"""NaN and infinity stop what they turn up in: weights at rest, checkpoints, sampling, decoding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fixtures import tiny_base, tiny_codec
from fp_lab.checks.finite import NotFinite, check_step, is_finite
from fp_lab.codecs.tiny import Codec
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.recipe import parse
from fp_lab.recipe.orders import plan
from fp_lab.sampling.decode_sections import decode_sections
from fp_lab.sampling.rollout import RolledSection, rollout
from fp_lab.training.framepack_system import FramePackSystem
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from tiny_rollout import FRAMES, INVERTED, SAMPLING, VANILLA, model_for

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
def test_one_value_among_many_is_found(dtype: torch.dtype, value: float) -> None:
    values = torch.ones(1000)
    assert is_finite(values.to(dtype))
    values[500] = value
    assert not is_finite(values.to(dtype))


def test_a_step_names_itself_and_what_is_wrong() -> None:
    check_step(1, INFINITE, loss=0.5, gradient_norm=1e30)
    with pytest.raises(NotFinite, match=r"step 7: gradient .*inf, .*\b0\.002\b"):
        check_step(7, 2e-3, loss=0.5, gradient_norm=INFINITE)


def test_a_checkpoint_with_nan_is_neither_written_nor_continued_from() -> None:
    recipe = parse(VANILLA)
    model, source = model_for(VANILLA), PlannedSections(recipe)
    subject = FramePackSystem(model, source, ObjectiveConfig(), OptimizerConfig(), steps=4, seed=0)
    state: dict[str, Any] = {
        "global_step": 3,
        "callbacks": {"average": [torch.ones(2)]},
        "state_dict": subject.state_dict(),
    }
    subject.on_save_checkpoint(state)
    state["optimizer_states"] = [{"exp_avg": torch.ones(2)}, {"exp_avg": torch.tensor([1.0, NAN])}]
    for hook in (subject.on_save_checkpoint, subject.on_load_checkpoint):
        with pytest.raises(NotFinite, match=r"step 3: optimizer_states\[1\]\.exp_avg"):
            hook(state)


@pytest.mark.parametrize(
    ("make", "load"), [(tiny_base, FramePackModel.load), (tiny_codec, Codec.load)], ids=["model", "codec"]
)
def test_weights_with_nan_are_neither_loaded_nor_saved(
    tmp_path: Path, make: Callable[[Path], Path], load: Callable[[Path], torch.nn.Module]
) -> None:
    file = make(tmp_path / "made") / "model.safetensors"
    whole = load(file.parent)
    weights = load_file(file)
    name = next(name for name, value in weights.items() if value.ndim > 1)
    weights[name].view(-1)[3] = NAN
    save_file(weights, file)
    with pytest.raises(NotFinite, match=name) as refused:
        load(file.parent)
    assert str(file.parent) in str(refused.value)
    whole.load_state_dict(weights)
    with pytest.raises(NotFinite, match=name):
        whole.save(tmp_path / "again")  # type: ignore[operator]
    assert not (tmp_path / "again").exists()


def test_sampling_stops_at_the_section_that_is_not_finite() -> None:
    model, seen = model_for(INVERTED), list[int]()

    def spoil(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output * NAN if len(seen) == 2 else output

    def sample(first: Tensor) -> None:
        recipe, frames = parse(INVERTED), FRAMES
        rolled = rollout(model, recipe, first, frames=frames, captions=["red"], seeds=[1], sampling=SAMPLING)
        seen.extend(done.index for done in rolled)

    model.backbone.final.register_forward_hook(spoil)
    with pytest.raises(NotFinite, match=r"section 3 of 5: latents .*\b8 to 11: got"):
        sample(torch.randn(1, 4, 1, 4, 4))
    assert seen == [0, 1]
    with pytest.raises(NotFinite, match=r"^given .*: got"):
        sample(torch.full((1, 4, 1, 4, 4), NAN))


def test_decoding_stops_at_the_section_whose_pixels_are_not_finite(tmp_path: Path) -> None:
    codec = Codec.load(tiny_codec(tmp_path))
    sections = plan(parse(INVERTED), FRAMES)
    rolled = [RolledSection(i, s, torch.zeros(1, 4, len(s.targets), 4, 4)) for i, s in enumerate(sections)]
    rolled[2].latents[:] = 3e38  # finite, but not what the decoder makes of it
    decoded = decode_sections(codec, parse(INVERTED), torch.zeros(1, 4, 1, 4, 4), rolled, frames=FRAMES)
    parts = list[int]()
    with pytest.raises(NotFinite, match=r"section 3: decoded .*got"):
        parts.extend(part.index for part in decoded)
    assert max(parts) == 1
