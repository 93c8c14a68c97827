"""What the adapter does beyond diffusers' own calls: masks, remembered contexts, timesteps, words."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fp_lab.backbones.wan.attention import PackedAttention
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.backbones.wan.model import Wan
from fp_lab.causal import Blocks, keep_last
from fp_lab.shapes import PackedContext, TextCondition
from tiny_wan import Inputs, adapter, assert_equal, diffusers_model, draw

FRAME = 3 * 5
"""Tokens of a frame of 6 x 10 latents."""
OWN = 3 * FRAME


@pytest.fixture
def inputs() -> Inputs:
    return draw()


def cut(context: PackedContext, tokens: slice) -> PackedContext:
    phases = replace(context.phases, cos=context.phases.cos[:, tokens], sin=context.phases.sin[:, tokens])
    return replace(context, tokens=context.tokens[:, tokens], phases=phases)


def half_known(context: PackedContext) -> Tensor:
    """Bool ``b n``: the second item does not know the last tokens."""
    known = torch.ones(context.tokens.shape[:2]).bool()
    known[1, 10:] = False
    return known


@torch.no_grad()
@pytest.mark.parametrize("kind", ["text", "image"])
def test_items_of_a_batch_equal_the_items_one_by_one(kind: str) -> None:
    inputs = draw(kind)
    together = inputs.through(adapter(kind))
    for index in range(2):
        assert_equal(together[index : index + 1], inputs.item(index).through(adapter(kind)))


@torch.no_grad()
@pytest.mark.parametrize("timesteps", [None, torch.zeros(2, 1)], ids=["same timestep", "zero timestep"])
def test_a_section_prepared_once_serves_every_step(inputs: Inputs, timesteps: Tensor | None) -> None:
    context = replace(inputs.context, timesteps=timesteps)
    section = adapter().prepare(inputs.times, (6, 10), inputs.text, context)
    for step in range(3):
        inputs = replace(inputs, noisy=inputs.noisy + step, timesteps=inputs.timesteps / 2, context=context)
        ours = adapter().denoise(inputs.noisy, inputs.timesteps, section)
        assert torch.equal(ours, inputs.through(adapter()))


def test_what_a_caption_makes_is_kept_only_without_gradients(inputs: Inputs) -> None:
    section = adapter().prepare(inputs.times, (6, 10), inputs.text)
    adapter().denoise(inputs.noisy, inputs.timesteps, section)
    assert all(words.made is None for words in section.words)
    with torch.no_grad():
        adapter().denoise(inputs.noisy, inputs.timesteps, section)
    assert all(words.made is not None for words in section.words)
    learning = adapter().denoise(inputs.noisy, inputs.timesteps, section)
    weight = adapter().blocks[1].attn2.to_k.weight
    (gradient,) = torch.autograd.grad(learning.square().mean(), weight)
    assert gradient.abs().max() > 0


def test_everything_in_a_call_matters(inputs: Inputs) -> None:
    base, context = inputs.through(adapter()), inputs.context
    changes: dict[str, dict[str, Any]] = {
        "timestep": {"timesteps": inputs.timesteps / 2},
        "no context": {"context": None},
        "caption": {"text": replace(inputs.text, tokens=-inputs.text.tokens)},
        "frame indices": {"times": inputs.times + 5},
        "timestep of the context": {"context": replace(context, timesteps=torch.zeros(2, 1))},
        "caption unread": {"context": replace(context, reads_text=False)},
        "keys": {"context": replace(context, key_scale=torch.tensor([[2.0, 1.0], [1.0, 1.0]]))},
        "known tokens": {"context": replace(context, mask=half_known(context))},
    }
    for name, change in changes.items():
        assert (inputs.through(adapter(), **change) - base).abs().max() > 1e-4, name
    image = draw("image")
    assert image.text.image is not None
    other = replace(image.text, image=-image.text.image)
    assert (image.through(adapter("image"), text=other) - image.through(adapter("image"))).abs().max() > 1e-3


def test_neutral_options_change_nothing(inputs: Inputs) -> None:
    base, context = inputs.through(adapter()), inputs.context
    count = context.tokens.shape[1]
    told = inputs.timesteps[:, None]
    neutral: list[dict[str, Any]] = [
        {"context": replace(context, timesteps=told)},
        {"context": replace(context, timesteps=told.expand(2, count))},
        {"context": replace(context, timesteps=told), "timesteps": told.expand(2, 3)},
        {"context": replace(context, key_scale=torch.ones(2, 2))},
        {"context": replace(context, mask=torch.ones(2, count).bool())},
        {"attention_mask": torch.ones(2, count + OWN, count + OWN).bool()},
        {"text": TextCondition(inputs.text.tokens)},
        {"text": replace(inputs.text, mask=torch.ones(2, 7).bool())},
        {"moments": inputs.times},
    ]
    for change in neutral:
        assert_equal(inputs.through(adapter(), **change), base)


def test_every_token_of_a_context_has_a_timestep_of_its_own(inputs: Inputs) -> None:
    """Tokens that nothing attends to may have any; those of the section's own level are of the section."""
    section = adapter().as_context(inputs.noisy, inputs.times, inputs.timesteps[:, None] * torch.ones(2, 3))
    assert section.timesteps is not None
    assert section.timesteps.shape == (2, OWN)
    whole = inputs.through(
        adapter(), timesteps=inputs.timesteps[:, None] * torch.tensor([1, 0.5, 0.1]), context=None
    )
    first = adapter().as_context(inputs.noisy[:, :, :1], inputs.times[:, :1], inputs.timesteps[:, None])
    rest: dict[str, Any] = {"noisy": inputs.noisy[:, :, 1:], "times": inputs.times[:, 1:], "context": first}
    ours = inputs.through(adapter(), timesteps=inputs.timesteps[:, None] * torch.tensor([0.5, 0.1]), **rest)
    assert_equal(ours, whole[:, :, 1:])


def test_words_behind_a_mask_do_not_matter(inputs: Inputs) -> None:
    mask = torch.arange(7) < torch.tensor([[4], [6]])
    masked = inputs.through(adapter(), text=replace(inputs.text, mask=mask))
    for index, words in enumerate((4, 6)):
        item = inputs.item(index)
        short = WanCondition(item.text.tokens[:, :words])
        assert_equal(masked[index : index + 1], item.through(adapter(), text=short))


def test_an_unknown_context_token_is_as_if_it_were_not_there(inputs: Inputs) -> None:
    known = replace(inputs.context, mask=half_known(inputs.context))
    masked = inputs.through(adapter(), context=known)
    item = inputs.item(1)
    assert_equal(masked[1:], item.through(adapter(), context=cut(item.context, slice(0, 10))))
    assert_equal(masked[:1], inputs.through(adapter())[:1])
    nothing = replace(inputs.context, mask=torch.zeros_like(half_known(inputs.context)))
    assert_equal(inputs.through(adapter(), context=nothing), inputs.through(adapter(), context=None))


def test_a_mask_cuts_the_context_off(inputs: Inputs) -> None:
    count = inputs.context.tokens.shape[1]
    mask = torch.ones(2, count + OWN, count + OWN).bool()
    mask[:, count:, :count] = False
    cut_off = inputs.through(adapter(), attention_mask=mask)
    assert_equal(cut_off, inputs.through(adapter(), context=None))


@pytest.mark.parametrize("reads_text", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_remembered_context_equals_one_that_sees_itself_alone(
    kind: str, *, reads_text: bool, masked: bool, scaled: bool
) -> None:
    inputs = draw(kind)
    count = inputs.context.tokens.shape[1]
    context = replace(
        inputs.context,
        timesteps=torch.zeros(2, 1),
        reads_text=reads_text,
        mask=half_known(inputs.context) if masked else None,
        key_scale=torch.tensor([[1.5, 0.5], [0.7, 2.0]]) if scaled else None,
    )
    blind = torch.ones(2, count + OWN, count + OWN).bool()
    blind[:, :count, count:] = False
    whole = inputs.through(adapter(kind), context=context, attention_mask=blind)
    with torch.no_grad():
        memory = adapter(kind).remember(context, inputs.text)
    assert memory.keys[0].shape == memory.values[1].shape == (2, 2, count, 16)
    assert_equal(inputs.through(adapter(kind), context=memory), whole)
    assert (inputs.through(adapter(kind), context=context) - whole).abs().max() > 1e-4, "the mask matters"


def test_nothing_remembered_is_no_history(inputs: Inputs) -> None:
    nothing = replace(
        inputs.context,
        timesteps=torch.zeros(2, 1),
        mask=torch.zeros_like(half_known(inputs.context)),
        reads_text=False,
    )
    trained = Wan(copy.deepcopy(diffusers_model()))
    output = trained(
        inputs.noisy, inputs.times, inputs.timesteps, inputs.text, trained.remember(nothing, inputs.text)
    )
    assert_equal(output, inputs.through(adapter(), context=None))
    output.square().mean().backward()
    gradients = [p.grad for p in trained.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients), "rows of nothing"


@pytest.mark.parametrize("history", [3, 5], ids=["the nearest block", "the whole history"])
@torch.no_grad()
def test_blocks_remembered_one_by_one_equal_one_masked_call(history: int) -> None:
    inputs, blocks = draw(frames=7), Blocks(section=3, history=history)
    inputs = replace(inputs, times=torch.arange(7).expand(2, -1))
    levels = torch.tensor([0.0, *[0.4] * 3, *[1.0] * 3]) * inputs.timesteps[:, None]
    mask = blocks.mask(inputs.times, FRAME)
    whole = inputs.through(adapter(), timesteps=levels, context=None, attention_mask=mask)
    memory = None
    for part in (slice(0, 1), slice(1, 4)):
        block = adapter().as_context(inputs.noisy[:, :, part], inputs.times[:, part], levels[:, part])
        memory = adapter().remember(block, inputs.text, memory)
        memory = keep_last(memory, history * FRAME)
    last: dict[str, Any] = {"noisy": inputs.noisy[:, :, 4:], "times": inputs.times[:, 4:]}
    ours = inputs.through(adapter(), timesteps=levels[:, 4:], context=memory, **last)
    assert_equal(ours, whole[:, :, 4:])


@torch.no_grad()
def test_what_is_remembered_later_knows_what_was_unknown_before(inputs: Inputs) -> None:
    """A mask on the earlier part, on the later one, or on both."""
    context = replace(inputs.context, timesteps=torch.zeros(2, 1))
    parts = [cut(context, slice(0, 20)), cut(context, slice(20, None))]
    count = context.tokens.shape[1]
    steps = torch.ones(2, count + OWN, count + OWN).bool()
    steps[:, :20, 20:] = False
    steps[:, :count, count:] = False
    known = torch.arange(count) % 3 > 0
    for hidden in ([0], [1], [0, 1]):
        mask = torch.ones(2, count).bool()
        masked = list(parts)
        for index in hidden:
            own = slice(0, 20) if index == 0 else slice(20, None)
            mask[:, own] = known[own]
            masked[index] = replace(parts[index], mask=mask[:, own])
        past = adapter().remember(masked[0], inputs.text)
        memory = adapter().remember(masked[1], inputs.text, past)
        whole = inputs.through(adapter(), context=replace(context, mask=mask), attention_mask=steps)
        assert_equal(inputs.through(adapter(), context=memory), whole)


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("kind", ["text", "image"])
def test_gradients_reach_everything_and_checkpointing_keeps_them(kind: str, *, isolated: bool) -> None:
    inputs = draw(kind)

    runs = []

    def gradients(*, saving: bool) -> dict[str, Tensor]:
        trained = Wan(copy.deepcopy(diffusers_model(kind)))
        trained.blocks[0].ffn.register_forward_hook(lambda *_: runs.append(saving))
        if saving:
            trained.transformer.enable_gradient_checkpointing()
        tokens = inputs.context.tokens.clone().requires_grad_()
        scale = torch.full((2, 2), 1.5, requires_grad=True)
        context = replace(inputs.context, tokens=tokens, key_scale=scale, timesteps=torch.zeros(2, 1))
        seen = trained.remember(context, inputs.text) if isolated else context
        output = trained(inputs.noisy, inputs.times, inputs.timesteps, inputs.text, seen)
        output.square().mean().backward()
        named = {**dict(trained.named_parameters()), "context": tokens, "key_scale": scale}
        return {name: p.grad for name, p in named.items() if p.grad is not None and p.grad.abs().max() > 0}

    plain, saved = gradients(saving=False), gradients(saving=True)
    assert set(plain) == {*dict(adapter(kind).named_parameters()), "context", "key_scale"}
    assert runs.count(True) == 2 * runs.count(False), "once more on the way back"
    for name, gradient in plain.items():
        torch.testing.assert_close(saved[name], gradient, atol=1e-6, rtol=1e-4)


def test_attention_does_not_tell_blocks_apart() -> None:
    """So that compiled blocks share their code: compiling each alone runs into dynamo's limit of eight."""
    processors = adapter().transformer.attn_processors.values()
    assert len(processors) == 4
    assert {(type(processor), repr(vars(processor))) for processor in processors} == {
        (PackedAttention, "{'_attention_backend': None}")
    }


def test_captions_and_images_become_a_condition(inputs: Inputs) -> None:
    backbone = copy.copy(adapter())
    with pytest.raises(ValueError, match=r"got 1 captions .*`texts`"):
        backbone.encode_text(["a ball"])
    backbone.texts = lambda captions: WanCondition(inputs.text.tokens[: len(captions)])
    image = torch.ones(1, 6, 24)
    text = backbone.encode_text(["a ball"], image)
    assert isinstance(text, WanCondition)
    assert text.image is image
    assert torch.equal(text.tokens, inputs.text.tokens[:1])


def test_what_does_not_fit_is_refused(inputs: Inputs) -> None:
    frames = torch.full((2, 3), 500.0)
    with pytest.raises(ValueError, match=r"frames .*context\.timestep=zero or level"):
        inputs.through(adapter(), timesteps=frames)
    with pytest.raises(ValueError, match=r"got None; .*context\.timestep=zero"):
        adapter().remember(inputs.context, inputs.text)
    with pytest.raises(ValueError, match=r"captions \(2, 7, 8\), expected .* text_dim 16"):
        inputs.through(adapter(), text=TextCondition(inputs.text.tokens[..., :8]))
    with pytest.raises(ValueError, match=r"image \(2, 6, 24\), expected None: .* image_dim .*None"):
        inputs.through(adapter(), text=draw("image").text)
    with pytest.raises(ValueError, match=r"no image, expected .*WanCondition: .* image_dim .*24"):
        inputs.through(adapter("image"))
    section = adapter().prepare(inputs.times, (6, 10), inputs.text)
    with pytest.raises(ValueError, match=r"\(3, 6, 8\).*, expected \(3, 6, 10\)"):
        adapter().denoise(inputs.noisy[..., :8], inputs.timesteps, section)
