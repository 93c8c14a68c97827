"""The probe's estimators, without truth: at their top for true renders, lower where something is damaged."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from fp_data.worlds import COLOURS as WORLD_COLOURS
from fp_data.worlds import SHAPES, TEXTURES, WorldConfig, render
from fp_data.worlds import SPEEDS as WORLD_SPEEDS
from fp_metrics import FAMILIES, SCORES, About, Series, Unmeasurable, protocol, score_video
from fp_metrics.families.probe import PROBE, ProbeEstimator, ProbeSight, held_out
from fp_metrics.functional.captions import COLOURS, DIRECTIONS, SPEEDS, read_caption
from fp_metrics.networks.probe import (
    WEIGHTS_FILE,
    Probe,
    centre_of,
    read_probe,
    shipped_folder,
    shipped_provenance,
    shipped_sha256,
)

FRAMES = 16
SEEDS = range(7000, 7006)
BY_SCORE = {estimator.score: estimator for estimator in PROBE.values()}


@dataclass(frozen=True)
class Known:
    """A true video ``(t, 3, h, w)``, its caption, the same without the object, and where the object is."""

    video: Tensor
    caption: str
    background: Tensor
    mask: Tensor


Damage = Callable[[Known], Tensor]


@pytest.fixture(scope="module")
def videos() -> list[Known]:
    world = render(WorldConfig(frames=FRAMES), SEEDS)
    return [
        Known(
            world.frames[i].movedim(-1, 1).float() / 255,
            world.captions[i],
            world.backgrounds[i].movedim(-1, 1).float() / 255,
            world.masks[i, :, 0][:, None].float(),
        )
        for i in range(len(SEEDS))
    ]


def series(score: str, video: Tensor, caption: str = "") -> Series:
    estimator = BY_SCORE[score](About(prompt=caption))
    estimator.update(video)
    return estimator.compute()


def mean_score(score: str, videos: list[Known], damage: Damage, caption: str | None = None) -> float:
    scores = [series(score, damage(k), k.caption if caption is None else caption).score for k in videos]
    return float(np.mean(scores))


def unchanged(known: Known) -> Tensor:
    return known.video


def blurred(sigma: float) -> Damage:
    return lambda known: gaussian_blur(known.video, [13, 13], [sigma, sigma])


def noisy(deviation: float) -> Damage:
    def damage(known: Known) -> Tensor:
        white = torch.randn(known.video.shape, generator=torch.Generator().manual_seed(0))
        return (known.video + deviation * white).clamp(0, 1)

    return damage


def faded(share: float) -> Damage:
    return lambda known: known.video.lerp(known.background, share)


def cut(share: float) -> Damage:
    """The right part of the object is missing."""

    def damage(known: Known) -> Tensor:
        around = F.max_pool2d(known.mask, 3, stride=1, padding=1)
        columns = around.amax((1, 2))  # t w
        order = columns.cumsum(1) / columns.sum(1, keepdim=True)
        gone = (around * (order > 1 - share)[:, None, None]) > 0
        return torch.where(gone, known.background, known.video)

    return damage


def squashed(factor: float) -> Damage:
    """The object is less high than it was: rows of the cut-out object are left out."""

    def damage(known: Known) -> Tensor:
        around = F.max_pool2d(known.mask, 3, stride=1, padding=1)
        frames = []
        for frame, mask in zip(known.video, around, strict=True):
            rows = mask[0].any(1).nonzero()[:, 0]
            top, bottom = int(rows[0]), int(rows[-1]) + 1
            size = (max(1, round((bottom - top) * factor)), frame.shape[-1])
            look, cover = (F.interpolate(x[None, :, top:bottom], size, mode="area")[0] for x in (frame, mask))
            made = known.background[0].clone()
            made[:, top : top + size[0]] = made[:, top : top + size[0]].lerp(look, cover)
            frames.append(made)
        return torch.stack(frames)

    return damage


def vanished(known: Known) -> Tensor:
    return torch.cat((known.video[: FRAMES // 2], known.background.expand(FRAMES - FRAMES // 2, -1, -1, -1)))


def recoloured(known: Known) -> Tensor:
    """From half time on red, green and blue of the object change places."""
    around = F.max_pool2d(known.mask, 3, stride=1, padding=1)[FRAMES // 2 :]
    late = known.video[FRAMES // 2 :]
    return torch.cat((known.video[: FRAMES // 2], late.lerp(late.roll(1, 1), around)))


def frozen(share: float) -> Damage:
    return lambda known: known.video[torch.arange(FRAMES).clamp(max=round((1 - share) * (FRAMES - 1)))]


def shuffled(known: Known) -> Tensor:
    return known.video[torch.randperm(FRAMES, generator=torch.Generator().manual_seed(1))]


# --- true renders


@pytest.mark.parametrize(
    ("score", "least", "each"),
    [
        ("clarity", 0.88, 0.75),
        ("motion", 0.8, 0.72),
        ("dynamic", 0.92, 0.84),
        ("semantic", 0.97, 0.89),
        ("anatomy", 0.92, 0.84),
        ("identity", 0.98, 0.9),
    ],
)
def test_true_renders_score_near_the_top(score: str, least: float, each: float, videos: list[Known]) -> None:
    scores = [series(score, known.video, known.caption).score for known in videos]
    assert np.mean(scores) > least
    assert min(scores) > each


def test_a_larger_render_is_read_like_a_small_one(videos: list[Known]) -> None:
    large = render(WorldConfig(frames=6, size=128), SEEDS[:2])
    for index, known in enumerate(videos[:2]):
        frames = large.frames[index].movedim(-1, 1).float() / 255
        for score in ("dynamic", "semantic", "anatomy", "identity"):
            small = series(score, known.video[:6], known.caption).score
            assert series(score, frames, known.caption).score == pytest.approx(small, abs=0.06), score


# --- damage

FALLS: list[tuple[str, list[Damage], float]] = [
    ("clarity", [unchanged, blurred(0.8), blurred(2.0)], 0.03),
    ("clarity", [unchanged, noisy(0.02), noisy(0.08)], 0.1),
    ("aesthetic", [unchanged, faded(0.4), faded(0.8)], 0.01),
    ("motion", [unchanged, shuffled], 0.3),
    ("dynamic", [unchanged, frozen(0.4), frozen(0.8)], 0.2),
    ("semantic", [unchanged, frozen(0.8)], 0.08),
    ("semantic", [unchanged, recoloured], 0.04),
    ("semantic", [unchanged, shuffled], 0.03),
    ("anatomy", [unchanged, cut(0.3), cut(0.6)], 0.1),
    ("anatomy", [unchanged, squashed(0.7), squashed(0.45)], 0.1),
    ("identity", [unchanged, recoloured], 0.05),
]


@pytest.mark.parametrize(("score", "damages", "step"), FALLS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_stronger_damage_scores_lower(
    score: str, damages: list[Damage], step: float, videos: list[Known]
) -> None:
    scores = [mean_score(score, videos, damage) for damage in damages]
    for weaker, stronger in itertools.pairwise(scores):
        assert stronger < weaker - step, scores


STAYS: list[tuple[str, Damage, float]] = [
    ("semantic", blurred(0.8), 0.03),
    ("semantic", noisy(0.02), 0.03),
    ("anatomy", noisy(0.02), 0.05),
    ("anatomy", blurred(0.8), 0.05),
    ("anatomy", frozen(0.8), 0.05),
    ("anatomy", recoloured, 0.06),
    ("identity", frozen(0.8), 0.02),
    ("identity", shuffled, 0.03),
    ("identity", blurred(0.8), 0.05),
    ("clarity", frozen(0.8), 0.03),
    ("clarity", shuffled, 0.001),
    ("motion", blurred(0.8), 0.06),
    ("dynamic", noisy(0.02), 0.06),
]


@pytest.mark.parametrize(
    ("score", "damage", "tolerance"), STAYS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_an_unrelated_score_stays(score: str, damage: Damage, tolerance: float, videos: list[Known]) -> None:
    plain = mean_score(score, videos, unchanged)
    assert mean_score(score, videos, damage) == pytest.approx(plain, abs=tolerance)


@pytest.mark.parametrize("score", ["motion", "dynamic", "semantic", "anatomy", "identity"])
def test_a_vanished_object_scores_zero(score: str, videos: list[Known]) -> None:
    for known in videos:
        gone = series(score, vanished(known), known.caption)
        assert (gone.values[gone.positions > FRAMES // 2] == 0).all()
        before = gone.values[gone.positions < FRAMES // 2 - 1]
        assert np.nanmean(before) > 0.6


def test_a_fading_object_is_lost_in_the_end(videos: list[Known]) -> None:
    first = [known.video[:1] for known in videos]
    likeness = [
        np.mean([
            series("identity", torch.cat((f, faded(share)(known)[1:6])), known.caption).values[1:].mean()
            for f, known in zip(first, videos, strict=True)
        ])
        for share in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    assert likeness[0] > likeness[1] > likeness[2] == 0


def test_an_identity_swapped_halfway_is_seen(videos: list[Known]) -> None:
    for known, other in zip(videos, videos[1:] + videos[:1], strict=True):
        swapped = torch.cat((known.video[: FRAMES // 2], other.video[FRAMES // 2 :]))
        kept, lost = (series("identity", v, known.caption) for v in (known.video, swapped))
        late = kept.positions >= FRAMES // 2
        said, other_said = read_caption(known.caption), read_caption(other.caption)
        assert said is not None
        assert other_said is not None
        shared = sum(getattr(said, n) == getattr(other_said, n) for n in ("shape", "colour", "texture"))
        assert lost.values[late].mean() < kept.values[late].mean() - 0.18 * (3 - shared)
        np.testing.assert_allclose(lost.values[~late], kept.values[~late], atol=1e-4)


@pytest.mark.parametrize("attribute", ["colour", "texture", "shape", "direction"])
def test_a_wrong_word_in_the_caption_costs_a_fifth(attribute: str, videos: list[Known]) -> None:
    lost = []
    for known in videos:
        said = read_caption(known.caption)
        assert said is not None
        words = {
            "colour": COLOURS[(COLOURS.index(said.colour) + 3) % len(COLOURS)],
            "texture": TEXTURES[(TEXTURES.index(said.texture) + 1) % len(TEXTURES)],
            "shape": SHAPES[(SHAPES.index(said.shape) + 1) % len(SHAPES)],
            "direction": "up" if said.direction[0] else "left",
        }
        name = {vector: word for word, vector in DIRECTIONS.items()}[said.direction]
        old = {"direction": name}.get(attribute, getattr(said, attribute))
        wrong = known.caption.replace(f" {old} ", f" {words[attribute]} ")
        assert wrong != known.caption
        right, less = (series("semantic", known.video, c).score for c in (known.caption, wrong))
        lost.append(right - less)
    assert np.mean(lost) == pytest.approx(0.2, abs=0.03)


def test_slower_than_said_reads_less(videos: list[Known]) -> None:
    ratios = []
    for known in videos:
        if " slowly " in known.caption:
            right, less = (
                series("dynamic", known.video, caption).score
                for caption in (known.caption, known.caption.replace(" slowly ", " fast "))
            )
            ratios.append(less / right)
    assert np.mean(ratios) == pytest.approx(0.5, abs=0.06)


# --- without a caption, and other reasons


def test_without_a_caption_speed_is_relative_to_the_fastest(videos: list[Known]) -> None:
    for known in videos:
        said = read_caption(known.caption)
        assert said is not None
        expected = said.speed / max(SPEEDS.values())
        assert series("dynamic", known.video).score == pytest.approx(expected, abs=0.12)


def test_meaning_needs_a_caption(videos: list[Known]) -> None:
    read = series("semantic", videos[0].video, "two men dancing")
    assert math.isnan(read.score)
    assert read.reason is not None
    assert "'two men dancing'" in read.reason
    assert "a red plain ball" in read.reason


@pytest.mark.parametrize(
    ("caption", "why"),
    [
        ("", "no caption of the synthetic world"),
        (
            "a red plain ball starting fast left over a smooth grey background behind a pillar",
            "behind a pillar",
        ),
    ],
)
def test_what_may_be_out_of_sight_is_undefined_not_zero(caption: str, why: str, videos: list[Known]) -> None:
    empty = videos[0].background.expand(4, -1, -1, -1)
    for score in ("motion", "dynamic", "anatomy"):
        read = series(score, empty, caption)
        assert math.isnan(read.score)
        assert why in (read.reason or "")
    assert "first frame" in (series("identity", empty, caption).reason or "")


def test_a_moving_camera_leaves_motion_undefined(videos: list[Known]) -> None:
    caption = f"{videos[0].caption} camera leaves and returns"
    assert read_caption(caption) is not None
    for score in ("motion", "dynamic"):
        assert "camera moves" in (series(score, videos[0].video, caption).reason or "")
    assert series("semantic", videos[0].video, caption).score > 0.95


def test_an_object_behind_a_pillar_is_still_read() -> None:
    world = render(WorldConfig(frames=48, variant="occlusion"), SEEDS)
    scores = [
        series("semantic", frames.movedim(-1, 1).float() / 255, caption).score
        for frames, caption in zip(world.frames, world.captions, strict=True)
    ]
    assert np.nanmean(scores) > 0.8


def test_oblong_frames_are_refused() -> None:
    with pytest.raises(Unmeasurable, match="64x96, expected square"):
        series("anatomy", torch.rand(2, 3, 64, 96))


# --- reading


@pytest.mark.parametrize("variant", ["plain", "occlusion", "camera", "revisit"])
def test_captions_of_the_world_are_read(variant: str) -> None:
    world = render(WorldConfig(size=16, frames=1, variant=variant), range(60))  # type: ignore[arg-type]
    for scene, caption in zip(world.scenes, world.captions, strict=True):
        said, sprite = read_caption(f" {caption.upper()}. "), scene.sprites[0]
        assert said is not None
        assert (said.colour, said.texture, said.shape) == (sprite.colour, sprite.texture, sprite.shape)
        assert said.speed == WORLD_SPEEDS[sprite.speed]
        assert said.direction == DIRECTIONS[sprite.direction]
        assert (said.hides is None) == (variant == "plain")
        assert said.camera_moves == (variant in ("camera", "revisit"))


def test_other_captions_are_not_read() -> None:
    two = render(WorldConfig(size=16, frames=1, sprites=2), [0]).captions[0]
    for text in ("", "a ball", two, two.replace("starting", "standing")):
        assert read_caption(text) is None


def test_names_are_those_of_the_world() -> None:
    assert tuple(WORLD_COLOURS) == COLOURS
    assert WORLD_SPEEDS == SPEEDS


def test_the_centre_is_that_of_the_covered_pixels() -> None:
    mask = torch.full((2, 64, 64), -5.0)
    mask[0, 10:21, 30:35] = 8.0
    np.testing.assert_allclose(centre_of(mask).numpy(), [[32, 15], [31.5, 31.5]], atol=1e-4)


def test_chunks_read_like_the_whole(videos: list[Known]) -> None:
    for name, kind in PROBE.items():
        whole, pieces = kind(About(prompt=videos[1].caption)), kind(About(prompt=videos[1].caption))
        whole.update(videos[1].video)
        for piece in videos[1].video.split([1, 5, 2, 8]):
            pieces.update(piece)
        # batches of other sizes round differently, and centres are read in pixels
        np.testing.assert_allclose(pieces.compute().values, whole.compute().values, atol=1e-4, err_msg=name)


def test_every_frame_is_read_once_for_all_estimators(
    videos: list[Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "probe", PROBE)
    seen: list[int] = []
    network = ProbeSight.network()
    with torch.no_grad():
        handle = network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        scored = score_video(
            [videos[0].video], length=FRAMES, families=("probe",), about=About(prompt=videos[0].caption)
        )
    handle.remove()
    assert sum(seen) == FRAMES
    assert seen == [8, 8]
    assert {kind.score for kind in scored.estimators.values()} == set(SCORES)
    assert all(math.isfinite(read.score) for read in scored.series.values())


# --- the shipped probe


def test_provenance_belongs_to_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    record = shipped_provenance()
    assert record["sha256"] == shipped_sha256()
    assert record["command"].startswith("fp-lab probe train")
    assert (shipped_folder() / WEIGHTS_FILE).stat().st_size < 1_500_000
    curve = (shipped_folder() / record["curve"]).read_text().splitlines()
    assert int(curve[-1].split(",")[0]) == record["config"]["steps"]
    assert float(curve[-1].split(",")[1]) < 0.6 * float(curve[1].split(",")[1])


def test_a_protocol_names_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "probe", PROBE)
    made: Mapping[str, dict[str, object]] = protocol(["probe"])["estimators"]
    settings = made["probe/well-formed-head"]["settings"]
    assert isinstance(settings, dict)
    assert settings["probe"] == shipped_sha256()
    assert made["probe/colourfulness-contrast"]["settings"] == {}


def test_every_reading_says_how_good_it_is() -> None:
    known = held_out()
    for kind in PROBE.values():
        if issubclass(kind, ProbeEstimator):
            assert set(kind.figures) <= known.keys()
            assert "held-out renders" in kind.accuracy()
            assert f"{known[f'damaged/{kind.score}']:.2f}" in kind.accuracy()
    semantic = BY_SCORE["semantic"]
    assert issubclass(semantic, ProbeEstimator)
    assert f"shape {100 * known['shape_accuracy']:.0f} %" in semantic.accuracy()


def test_a_folder_without_a_probe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fp-lab probe train"):
        read_probe(tmp_path)


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    folder = tmp_path
    state = Probe().state_dict()
    state.pop("mask.bias")
    save_file(state, folder / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"missing: mask\.bias"):
        read_probe(folder)
