import pytest
import torch

from fp_lab.backbones import TinyDiT, TinyDiTConfig
from fp_lab.conditions import WordsConfig
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE
from fp_lab.shapes import ContextLevel, PackedContext

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


def test_equal_timesteps_per_token_are_one_timestep(backbone: TinyDiT, context: PackedContext) -> None:
    noisy, times = section()
    text, steps = backbone.encode_text(["red", "ball"]), torch.tensor([700.0, 300.0])
    per_token = steps[:, None].expand(2, context.tokens.shape[1] + 3 * 4)
    torch.testing.assert_close(
        backbone(noisy, times, per_token, text, context),
        backbone(noisy, times, steps, text, context),
        atol=1e-5,
        rtol=1e-4,
    )
    history_at_zero = per_token.clone()
    history_at_zero[:, : context.tokens.shape[1]] = 0
    changed = backbone(noisy, times, history_at_zero, text, context)
    assert (changed - backbone(noisy, times, steps, text, context)).abs().max() > 1e-3


def test_captions_of_unequal_length_do_not_disturb_each_other(backbone: TinyDiT) -> None:
    noisy, times = section()
    steps = torch.tensor([500.0, 100.0])
    together = backbone(noisy, times, steps, backbone.encode_text(["red", "red ball red ball"]))
    alone = backbone(noisy[:1], times[:1], steps[:1], backbone.encode_text(["red"]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_the_head_width_must_fit() -> None:
    with pytest.raises(ValueError, match="20 and 32"):
        TinyDiTConfig(width=32, head_width=20)
