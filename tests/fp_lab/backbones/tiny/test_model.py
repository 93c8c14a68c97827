from dataclasses import replace

import pytest
import torch

from fp_lab.backbones.protocol import Backbone
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, WordsConfig
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE
from fp_lab.shapes import ContextLevel, EncodedText, PackedContext

CONFIG = TinyDiTConfig(channels=4, width=32, depth=2, head_width=16, words=WordsConfig(words=("red", "ball")))


@pytest.fixture
def backbone() -> TinyDiT:
    torch.manual_seed(0)
    model = TinyDiT(CONFIG)
    torch.nn.init.normal_(model.final.weight, std=0.5)  # zero at birth, which would hide every difference
    return model.eval()


@pytest.fixture
def context() -> PackedContext:
    torch.manual_seed(1)
    packer = ContextPacker([BASE], 4, 32, CONFIG.rope)
    level = ContextLevel(
        BASE, torch.randn(2, 4, 2, 4, 4), torch.tensor([[0, 1], [0, 5]]), torch.ones(2, 2).bool()
    )
    packed = packer((level,))
    assert packed is not None
    return PackedContext(packed.tokens.detach(), packed.phases)


def section(seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, 3, 4, 4, generator=generator), torch.tensor([[2, 3, 4], [6, 7, 8]])


def test_it_is_what_the_method_asks_for(backbone: TinyDiT, context: PackedContext) -> None:
    assert isinstance(backbone, Backbone)
    noisy, times = section()
    text, steps = backbone.encode_text(["red ball", "red"]), torch.tensor([700.0, 300.0])
    prepared = backbone.prepare(times, (4, 4), text, context)
    whole = backbone(noisy, times, steps, text, context)
    assert torch.equal(backbone.denoise(noisy, steps, prepared), whole)
    other = backbone.denoise(noisy + 1, steps / 2, prepared)
    assert torch.equal(other, backbone(noisy + 1, times, steps / 2, text, context)), (
        "nothing is left of a step"
    )
    with pytest.raises(ValueError, match=r"\(3, 4, 6\).*, expected \(3, 4, 4\)"):
        backbone.denoise(torch.randn(2, 4, 3, 4, 6), steps, prepared)


def test_embeddings_of_captions_are_refused(backbone: TinyDiT) -> None:
    with pytest.raises(ValueError, match=r"TinyDiT got 1 captions .*embeddings, expected words"):
        backbone.encode_text(["red", EncodedText(torch.zeros(2, 32))])


def test_shapes_and_odd_sizes(backbone: TinyDiT) -> None:
    text = backbone.encode_text(["red ball", ""])
    noisy = torch.randn(2, 4, 3, 5, 7)
    assert backbone(noisy, section()[1], torch.tensor([500.0, 1.0]), text).shape == noisy.shape


def test_a_new_model_predicts_zero() -> None:
    noisy, times = section()
    model = TinyDiT(CONFIG)
    assert model(noisy, times, torch.ones(2), model.encode_text(["", ""])).abs().max() == 0


def test_time_context_and_text_all_matter(backbone: TinyDiT, context: PackedContext) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red ball", "ball"]), torch.tensor([500.0, 500.0])
    base = backbone(noisy, times, steps, text, context)
    changed = {
        "timestep": backbone(noisy, times, steps / 2, text, context),
        "context": backbone(noisy, times, steps, text, None),
        "text": backbone(noisy, times, steps, backbone.encode_text(["", ""]), context),
        "frame indices": backbone(noisy, times + torch.tensor([[0], [9]]), steps, text, context),
    }
    for name, other in changed.items():
        assert (base - other).abs().max() > 1e-3, name


def test_masked_context_tokens_have_no_influence(backbone: TinyDiT, context: PackedContext) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red", "red ball"]), torch.tensor([500.0, 500.0])
    mask = torch.ones(context.tokens.shape[:2], dtype=torch.bool)
    mask[1, 3:] = False
    poisoned = context.tokens.clone()
    poisoned[1, 3:] = 1e3
    clean = backbone(noisy, times, steps, text, PackedContext(context.tokens, context.phases, mask))
    other = backbone(noisy, times, steps, text, PackedContext(poisoned, context.phases, mask))
    torch.testing.assert_close(clean, other)
    unmasked = backbone(noisy, times, steps, text, context)
    assert (clean[1] - unmasked[1]).abs().max() > 1e-3


def test_an_attention_mask_cuts_the_context_off(backbone: TinyDiT, context: PackedContext) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red", "ball"]), torch.tensor([500.0, 500.0])
    count, tokens = context.tokens.shape[1], context.tokens.shape[1] + 3 * 4
    mask = torch.ones(2, tokens, tokens, dtype=torch.bool)
    mask[:, count:, :count] = False
    cut = backbone(noisy, times, steps, text, context, mask)
    torch.testing.assert_close(cut, backbone(noisy, times, steps, text, None), atol=1e-5, rtol=1e-4)


def test_equal_timesteps_per_frame_are_one_timestep(backbone: TinyDiT, context: PackedContext) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red", "ball"]), torch.tensor([700.0, 300.0])
    told = replace(context, timesteps=steps[:, None])
    together = backbone(noisy, times, steps, text, context)
    per_frame = backbone(noisy, times, steps[:, None].expand(2, 3), text, told)
    torch.testing.assert_close(per_frame, together, atol=1e-5, rtol=1e-4)
    changed = backbone(noisy, times, steps, text, replace(context, timesteps=torch.zeros(2, 1)))
    assert (changed - together).abs().max() > 1e-3, "history at timestep 0"
    frames = steps[:, None] * torch.tensor([1.0, 0.5, 1.0])
    changed = backbone(noisy, times, frames, text, told)
    assert (changed - together).abs().max() > 1e-3, "one frame at half the noise"


def test_frames_with_timesteps_of_their_own_need_a_context_that_has_some(
    backbone: TinyDiT, context: PackedContext
) -> None:
    noisy, times = section()
    with pytest.raises(ValueError, match=r"frames .*context\.timestep=zero or level"):
        backbone(noisy, times, torch.full((2, 3), 500.0), backbone.encode_text(["red", "ball"]), context)


@pytest.mark.parametrize("reads_text", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_remembered_keys_and_values_are_those_of_a_masked_whole(
    backbone: TinyDiT, context: PackedContext, reads_text: bool, masked: bool, scaled: bool
) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red ball", "red"]), torch.tensor([700.0, 300.0])
    mask = torch.ones(context.tokens.shape[:2], dtype=torch.bool)
    mask[1, -4:] = False
    isolated = replace(
        context,
        timesteps=torch.zeros(2, 1),
        reads_text=reads_text,
        mask=mask if masked else None,
        key_scale=torch.tensor([[1.5, 0.5], [0.7, 2.0]]) if scaled else None,
    )
    before, own = context.tokens.shape[1], 3 * 4
    blind = torch.ones(2, before + own, before + own, dtype=torch.bool)
    blind[:, :before, before:] = False
    whole = backbone(noisy, times, steps, text, isolated, blind)
    cached = backbone(noisy, times, steps, text, backbone.remember(isolated, text))
    torch.testing.assert_close(cached, whole, atol=1e-5, rtol=1e-5)
    seeing = backbone(noisy, times, steps, text, isolated)
    assert (seeing - whole).abs().max() > 1e-3, "the mask matters"


def test_a_history_that_is_all_masked_is_no_history(backbone: TinyDiT, context: PackedContext) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red ball", "red"]), torch.tensor([700.0, 300.0])
    nothing = replace(
        context, timesteps=torch.zeros(2, 1), mask=torch.zeros(context.tokens.shape[:2], dtype=torch.bool)
    )
    alone = backbone(noisy, times, steps, text)
    torch.testing.assert_close(backbone(noisy, times, steps, text, nothing), alone, atol=1e-5, rtol=1e-5)
    cached = backbone(noisy, times, steps, text, backbone.remember(nothing, text))
    torch.testing.assert_close(cached, alone, atol=1e-5, rtol=1e-5)
    cached.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in backbone.parameters()), "rows of nothing"


def test_a_context_at_the_sections_timestep_cannot_be_remembered(
    backbone: TinyDiT, context: PackedContext
) -> None:
    with pytest.raises(ValueError, match=r"got None; .*context\.timestep=zero"):
        backbone.remember(context, backbone.encode_text(["red", "ball"]))


def test_a_context_that_does_not_read_the_caption_costs_a_difference(
    backbone: TinyDiT, context: PackedContext
) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red ball", "red"]), torch.tensor([700.0, 300.0])
    reading = backbone(noisy, times, steps, text, context)
    blind = backbone(noisy, times, steps, text, replace(context, reads_text=False))
    assert (reading - blind).abs().max() > 1e-4
    neutral = backbone(noisy, times, steps, text, replace(context, key_scale=torch.ones(2, 2)))
    torch.testing.assert_close(neutral, reading)
    amplified = backbone(noisy, times, steps, text, replace(context, key_scale=torch.full((2, 2), 2.0)))
    assert (reading - amplified).abs().max() > 1e-4


def test_captions_of_unequal_length_do_not_disturb_each_other(backbone: TinyDiT) -> None:
    noisy, times = section()
    steps = torch.tensor([500.0, 100.0])
    together = backbone(noisy, times, steps, backbone.encode_text(["red", "red ball red ball"]))
    alone = backbone(noisy[:1], times[:1], steps[:1], backbone.encode_text(["red"]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_the_head_width_must_fit() -> None:
    with pytest.raises(ValueError, match="20 and 32"):
        TinyDiTConfig(width=32, head_width=20)
