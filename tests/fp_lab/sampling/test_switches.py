"""Switches of sampling in whole rollouts: what each does, that off is off, and that a rollout resumes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.model import FramePackModel
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling import rollout as rolling
from fp_lab.sampling.history_latents import AdaptiveConfig
from fp_lab.sampling.recency import RecencyConfig
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.seeds import seeded_noise
from fp_lab.sampling.settings import SamplingConfig, check_switches
from tiny_conditions import normal
from tiny_rollout import FRAMES, INVERTED, SAMPLING, model_for

CAUSAL = "td_f8k1_g4"
START = "f1k1_x_f4k2f1k1_g4"
"""The first frame is kept, so that it is ever farther away."""
FIRST = normal(2, 4, 1, 4, 4)
ALWAYS = AdaptiveConfig(strength=0.5, mean=0.0, variance=0.0)
"""Every section but the first leaves a band of width 0."""
SWITCHES: dict[str, dict[str, Any]] = {
    "rope_jitter": {"rope_jitter": 0.8},
    "recency": {"recency": RecencyConfig(0.5)},
    "adaptive": {"adaptive": ALWAYS},
    "section_noise": {"section_noise": "shared"},
    "reencode": {"reencode": True},
    "positions": {"positions": "relative"},
}


class Halving(LatentCodec):
    """A round trip of it halves latents."""

    channels, spatial, temporal, sha256, encoder_sha256 = 4, 1, 1, "", ""  # type: ignore[assignment]

    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        return latents

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels / 2


def sections(
    model: FramePackModel,
    name: str = START,
    made: Mapping[int, Tensor] | None = None,
    history: Tensor | None = None,
    items: slice = slice(None),
    **switches: Any,
) -> list[Tensor]:
    """Latents of the sections in generation order."""
    done = rollout(
        model,
        parse(name),
        FIRST[items],
        frames=FRAMES,
        captions=["red", "red"][items],
        seeds=[1, 2][items],
        sampling=replace(SAMPLING, **switches),
        made=made,
        history=history,
        codec=Halving(),
    )
    return [section.latents for section in done]


def whole(parts: list[Tensor]) -> Tensor:
    """The video of sections that were made forwards."""
    return torch.cat((FIRST, *parts), 2)


def model_of(name: str, **context: Any) -> FramePackModel:
    """With four frequencies of time: the base changes all but the first."""
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=2, head_width=32))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    return FramePackModel(backbone, kernels_of(parse(name)), "clean", ContextConfig(**context)).eval()


MODELS = {
    "full": model_of(START),
    "isolated": model_of(START, timestep="zero", attention="isolated"),
    "inverted": model_of(INVERTED),
}
NAMES = {"inverted": INVERTED, "causal": CAUSAL}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("kind", MODELS)
def test_every_switch_changes_later_sections_of_a_video_whatever_its_batch(kind: str, switch: str) -> None:
    model, name = MODELS[kind], NAMES.get(kind, START)
    plain, switched = sections(model, name), sections(model, name, **SWITCHES[switch])
    assert (plain[-1] - switched[-1]).abs().max() > 1e-3
    if switch in ("adaptive", "section_noise", "reencode"):
        assert torch.equal(plain[0], switched[0]), "nothing has become history yet"
    alone = sections(model, name, items=slice(1, 2), **SWITCHES[switch])
    for one, both in zip(alone, switched, strict=True):
        torch.testing.assert_close(one, both[1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("switch", [name for name in SWITCHES if name not in ("recency", "positions")])
def test_switches_that_leave_attention_alone_work_with_cached_blocks(switch: str) -> None:
    model = model_of(CAUSAL, attention="block_causal")
    plain, switched = sections(model, CAUSAL), sections(model, CAUSAL, **SWITCHES[switch])
    assert (plain[-1] - switched[-1]).abs().max() > 1e-3


def test_switches_that_are_off_change_no_bit() -> None:
    off = {
        "rope_jitter": 0.0,
        "recency": RecencyConfig(0.0, 2.0, 3, 1),
        "adaptive": AdaptiveConfig(0.0, 0.5, 0.0, 0.0),
        "section_noise": "fresh",
        "reencode": False,
        "positions": "trained",
    }
    for one, other in zip(sections(MODELS["full"]), sections(MODELS["full"], **off), strict=True):
        assert torch.equal(one, other)


def test_relative_positions_in_sampling_are_those_of_a_model_trained_so() -> None:
    model = MODELS["full"]
    trained = FramePackModel(model.backbone, model.kernels, "clean", ContextConfig(positions="relative"))
    trained.load_state_dict(model.state_dict())
    made = sections(model, positions="relative")
    for one, other in zip(made, sections(trained.eval()), strict=True):
        assert torch.equal(one, other)


def test_a_history_that_went_through_the_codec_is_one_forced_to_be_so() -> None:
    made = sections(MODELS["full"], reencode=True)
    forced = whole([part / 2 for part in made])
    again = sections(MODELS["full"], history=forced)
    for one, other in zip(made, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_history_with_noise_after_drift_is_one_forced_to_be_so() -> None:
    made = sections(MODELS["full"], adaptive=ALWAYS)
    noisy = [
        part + 0.5 * seeded_noise([1, 2], -1 - index, part.shape[1:]) if index else part
        for index, part in enumerate(made)
    ]
    again = sections(MODELS["full"], history=whole(noisy))
    for one, other in zip(made, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def started_from(monkeypatch: pytest.MonkeyPatch, **switches: Any) -> list[Tensor]:
    """Noise of each section, as the solver gets it."""
    noises: list[Tensor] = []
    solver = rolling.solver_of(SAMPLING.solver)

    def watched(velocity: Any, noise: Tensor, sigmas: Tensor) -> Tensor:
        noises.append(noise)
        return solver(velocity, noise, sigmas)

    with monkeypatch.context() as patch:
        patch.setattr(rolling, "solver_of", lambda config: watched)
        sections(MODELS["full"], **switches)
    return noises


def test_shared_noise_is_that_of_the_first_section_cut_where_the_last_is_shorter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh, shared = started_from(monkeypatch), started_from(monkeypatch, section_noise="shared")
    assert [noise.shape[2] for noise in fresh] == [4, 4, 4, 4, 3]
    for one, other in zip(fresh[1:], shared[1:], strict=True):
        assert torch.equal(other, fresh[0][:, :, : other.shape[2]])
        assert not torch.equal(one, other)
    assert torch.equal(fresh[0], shared[0])


def test_a_rollout_with_all_switches_resumes_with_the_same_bits() -> None:
    options = {name: value for switch in SWITCHES.values() for name, value in switch.items()}
    options |= {"guidance": 2.0, "history_guidance": 1.5}
    made = sections(MODELS["full"], **options)
    for done in (1, 3):
        again = sections(MODELS["full"], made=dict(enumerate(made[:done])), **options)
        assert all(torch.equal(one, other) for one, other in zip(made, again, strict=True))


@pytest.mark.parametrize("switch", ["recency", "adaptive", "reencode", "positions"])
def test_a_switch_of_the_history_is_refused_where_there_is_none(switch: str) -> None:
    with pytest.raises(ValueError, match=rf"sampling\.{switch}: got .*recipe g4, which has no history"):
        sections(model_for("g4"), "g4", **SWITCHES[switch])


def test_settings_without_a_history_leave_nothing_to_refuse() -> None:
    options = {name: value for switch in SWITCHES.values() for name, value in switch.items()}
    without = SamplingConfig(history_level=0.5, **options).without_history()
    check_switches(without, ContextConfig(), parse("g4"))
    assert (without.rope_jitter, without.section_noise) == (0.8, "shared")


@pytest.mark.parametrize("switch", ["recency", "positions"])
def test_a_switch_of_attention_is_refused_where_keys_are_cached(switch: str) -> None:
    with pytest.raises(ValueError, match=rf"sampling\.{switch}: got .*context\.attention 'block_causal'"):
        sections(model_of(CAUSAL, attention="block_causal"), CAUSAL, **SWITCHES[switch])


def test_relative_positions_are_refused_where_they_are_no_switch() -> None:
    with pytest.raises(ValueError, match=r"sampling\.positions: got 'relative' with context\.positions"):
        sections(model_of(START, positions="relative"), positions="relative")


@pytest.mark.parametrize(("name", "kept"), [("td_f4k2f1k1_g4", 0), (START, 1), (INVERTED, 1)])
def test_a_sink_at_relative_positions_is_of_frames_that_the_recipe_keeps(name: str, kept: int) -> None:
    relative = SamplingConfig(positions="relative", recency=RecencyConfig(0.5, sink=kept))
    check_switches(relative, ContextConfig(), parse(name))
    more = replace(relative, recency=RecencyConfig(0.5, sink=kept + 1))
    for sampling, context in (
        (more, ContextConfig()),
        (replace(more, positions="trained"), ContextConfig(positions="relative")),
    ):
        with pytest.raises(ValueError, match=rf"recency\.sink: got {kept + 1} .*at most {kept}:"):
            check_switches(sampling, context, parse(name))
    check_switches(replace(more, positions="trained"), ContextConfig(), parse(name))


def test_what_a_switch_lacks_is_named() -> None:
    model = MODELS["full"]
    with pytest.raises(ValueError, match=r"sampling\.reencode: got True and no codec"):
        next(rollout(
            model, parse(START), FIRST, frames=FRAMES, captions=["red"] * 2, seeds=[1, 2],
            sampling=SamplingConfig(reencode=True),
        ))  # fmt: skip
    silent = model_of(START)
    pack = silent.pack

    def without_frames(*arguments: Any) -> Any:
        packed = pack(*arguments)
        return None if packed is None else replace(packed, frames=None)

    silent.pack = without_frames  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"sampling\.recency: got beta 0\.5 with packer 'projections'"):
        sections(silent, **SWITCHES["recency"])


def test_a_packer_that_takes_no_other_frequencies_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(START)

    class Older(type(model.packer)):  # type: ignore[misc]
        def forward(self, context: Any, levels: Any = None) -> Any:
            return super().forward(context, levels)

    model.packer.__class__ = Older
    assert sections(model)
    with pytest.raises(ValueError, match=r"sampling\.rope_jitter: got .*Older\.forward takes no rope"):
        sections(model, rope_jitter=0.8)


@pytest.mark.parametrize("strength", [-0.1, 1.0])
def test_a_strength_at_which_bases_vanish_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=rf"sampling\.rope_jitter: got {strength}"):
        SamplingConfig(rope_jitter=strength)
