"""Videos that begin with nothing, a picture or a clip; scenes, going on, and memory that does not grow."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, WordsConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange, assemble
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.recipe.orders import Section, plan
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.section_context import PackedHistory, _history_noise
from fp_lab.sampling.seeds import seeded_noise
from fp_lab.shapes import ContextLevel, PackedContext
from tiny_rollout import FRAMES, INVERTED, SAMPLING, VANILLA, model_for


def clip_of(frames: int) -> Tensor:
    return torch.randn(2, 4, frames, 4, 4, generator=torch.Generator().manual_seed(5))


def rolled(model: FramePackModel, name: str, given: Tensor, frames: int = FRAMES, **options: Any) -> Tensor:
    """The whole video, given frames included."""
    video = torch.zeros(len(given), 4, frames, 4, 4)
    video[:, :, : given.shape[2]] = given
    settings: dict[str, Any] = {"captions": ["red"] * len(given), "sampling": SAMPLING} | options
    made = rollout(model, parse(name), given, frames=frames, seeds=[1, 2][: len(given)], **settings)
    for done in made:
        video[:, :, list(done.section.targets)] = done.latents
    return video


@pytest.mark.parametrize("name", [VANILLA, INVERTED, "td_f4k2f1k1_g4_x_f1k1", "g4", "ta_f4k2f1k1_g4"])
def test_videos_begin_with_nothing_and_with_clips(name: str) -> None:
    model = model_for(name)
    text = rolled(model, name, clip_of(0))
    assert (text.abs().sum((1, 3, 4)) > 0).all(), "every frame is made"
    clip = clip_of(7)
    extended = rolled(model, name, clip)
    assert torch.equal(extended[:, :, :7], clip)
    other = clip.clone()
    other[:, :, -1] += 1
    changed = rolled(model, name, other)[:, :, 7:]
    reads = name != "g4"
    assert torch.equal(extended[:, :, 7:], changed) != reads, "what comes depends on how the clip ends"


def test_a_clip_is_history_like_any_other() -> None:
    """A video goes on from its own first sections as it went on from them when they were made."""
    model, first = model_for(VANILLA), clip_of(1)
    whole = rolled(model, VANILLA, first)
    sections = {i: whole[:, :, list(s.targets)] for i, s in enumerate(plan(parse(VANILLA), FRAMES))}

    begun = {index: sections[index] for index in (0, 1)}
    torch.testing.assert_close(rolled(model, VANILLA, first, made=begun), whole)
    short = rollout(
        model,
        parse(VANILLA),
        whole[:, :, :9],
        frames=FRAMES,
        captions=["red", "red"],
        seeds=[1, 2],
        sampling=SAMPLING,
    )
    assert [done.section.targets for done in short] == [s.targets for s in plan(parse(VANILLA), FRAMES)[2:]]


def test_sections_that_were_made_before_are_not_made_again() -> None:
    model, first, calls = model_for(INVERTED), clip_of(1), []
    whole = rolled(model, INVERTED, first)
    sections = plan(parse(INVERTED), FRAMES)
    pack = model.pack
    model.pack = lambda context, levels=None: (calls.append(1), pack(context))[1]  # type: ignore[method-assign, func-returns-value]
    made = {index: whole[:, :, list(sections[index].targets)] for index in range(3)}
    again = rolled(model, INVERTED, first, made=made)
    assert torch.equal(again, whole)
    assert len(calls) == len(sections) - 3


def test_scenes_follow_their_prompts_in_time() -> None:
    torch.manual_seed(0)
    words = WordsConfig(words=("red", "blue", "still"))
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=1, head_width=16, words=words))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    model, first = FramePackModel(backbone, kernels_of(parse(VANILLA)), "clean").eval(), clip_of(1)[:1]

    def video(*prompts: str, **options: Any) -> Tensor:
        return rolled(model, VANILLA, first, captions=[list(prompts)], **options)

    red, both = video("red"), video("red", "blue")
    assert torch.equal(red[:, :, :9], both[:, :, :9])
    assert not torch.allclose(red[:, :, 9:13], both[:, :, 9:13], atol=1e-4)
    late = video("red", "blue", scenes=(0, 17))
    assert torch.equal(red[:, :, :17], late[:, :, :17])
    assert not torch.allclose(red[:, :, 17:], late[:, :, 17:], atol=1e-4)
    with pytest.raises(ValueError, match=r"got 2 prompts .*3 scenes, expected"):
        video("red", "blue", scenes=(0, 5, 9))
    with pytest.raises(ValueError, match=r"got \[1, 2\] prompts .*expected"):
        list(
            rollout(
                model,
                parse(VANILLA),
                clip_of(1),
                frames=FRAMES,
                captions=[["red"], ["red", "blue"]],
                seeds=[1, 2],
                sampling=SAMPLING,
            )
        )


@pytest.mark.parametrize(
    ("name", "context"),
    [
        (VANILLA, ContextConfig()),
        (INVERTED, ContextConfig(padding="released", missing="zero")),
        ("f1k1_x_f4k2f1k1_g4", ContextConfig(positions="relative", missing="zero", start_in_history=True)),
        ("td_f4k2f1k1_g4_x_f1k1", ContextConfig(missing="mask")),
        ("tc_f4k2f1k1_g4", ContextConfig()),
    ],
)
def test_what_is_forgotten_is_never_asked_for_again(name: str, context: ContextConfig) -> None:
    """The context of every section is that of an arrangement over the whole video."""
    torch.manual_seed(0)
    model = FramePackModel(model_for(name).backbone, kernels_of(parse(name)), "clean", context).eval()
    seen: list[tuple[ContextLevel, ...]] = []
    pack = model.pack
    model.pack = lambda context, levels=None: (seen.append(context), pack(context, levels))[1]  # type: ignore[method-assign, func-returns-value]
    truth = torch.randn(2, 4, 41, 4, 4)
    rolled(model, name, truth[:, :, :1], 41, history=truth)
    for section, levels in zip(plan(parse(name), 41), seen, strict=True):
        whole = assemble(truth, [arrange(parse(name), section, 41, context)], context.missing).context
        for level, expected in zip(levels, whole, strict=True):
            if expected.tail == "tc":
                torch.testing.assert_close(level.latents, expected.latents)
                continue
            known = expected.known[0]
            assert torch.equal(level.known, expected.known)
            assert torch.equal(level.times[:, known], expected.times[:, known])
            assert torch.equal(level.latents[:, :, known], expected.latents[:, :, known])


@pytest.mark.parametrize(("name", "bound"), [(VANILLA, 5), (INVERTED, 6)])
def test_memory_of_a_minute_does_not_grow(name: str, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 seconds at 30 frames per second, four of them per latent frame."""
    frames, held, tokens = 1 + 60 * 30 // 4, [], []
    model = model_for(name)
    attended, pack = PackedHistory.attended, model.pack

    def watched(self: PackedHistory, index: int, section: Section, texts: Any) -> Any:
        result = attended(self, index, section, texts)
        held.append(len(self.kept))
        return result

    def counted(context: tuple[ContextLevel, ...], levels: Tensor | None = None) -> PackedContext | None:
        packed = pack(context, levels)
        tokens.append(0 if packed is None else packed.tokens.shape[1])
        return packed

    monkeypatch.setattr(PackedHistory, "attended", watched)
    model.pack = counted  # type: ignore[method-assign]
    once = replace(SAMPLING, solver=SolverConfig("euler", 1))
    rolled(model, name, clip_of(1)[:1], frames, sampling=once)
    assert len(held) == -(-(frames - 1) // 4)
    assert max(held) <= bound
    assert len(set(tokens[2:])) == 1, "once the history is full, every section costs the same"


def test_a_told_historys_levels_and_the_section_have_noises_of_their_own() -> None:
    """Of equal shape: independent draws, as in training; torch takes the lower 32 bits of a seed alone."""
    like = torch.zeros(1, 4, 2, 16, 16)
    levels = [_history_noise((3,), 5, level, like) for level in range(6)]
    noises = torch.stack([seeded_noise((3,), 5, like.shape[1:]), *levels]).flatten(1)
    apart = torch.corrcoef(noises) - torch.eye(len(noises))
    assert apart.abs().max() < 0.1
