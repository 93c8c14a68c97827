"""Streaming decode, against diffusers' pipelines and against a codec whose pixels tell their time."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
)
from torch import Tensor, nn

from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.codecs.video import VideoCodec, pixel_frames
from fp_lab.recipe import parse
from fp_lab.recipe.orders import plan
from fp_lab.sampling.decode_sections import GIVEN, DecodedPart, cross_fade, decode_sections, decode_whole
from fp_lab.sampling.rollout import RolledSection

FORWARD, INVERTED = "td_f4k2f1k1_g3", "f1k1_x_g3_f1k1f4k2_td"
SECTION = 3


class Ruler(VideoCodec):
    """Decodes latent frames that hold their index to pixel frames that hold their time."""

    def __init__(self, temporal: int = 4, seam: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.ratio, self.seam = temporal, seam
        self.calls: list[int] = []

    @property
    def temporal(self) -> int:
        return self.ratio

    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        """Linear between frames; `seam` is added to the first frame of the stretch."""
        self.calls.append(latents.shape[2])
        size = (pixel_frames(latents.shape[2], self.ratio), *latents.shape[3:])
        pixels = nn.functional.interpolate(latents, size, mode="trilinear", align_corners=True)
        pixels[:, :, 0] += self.seam
        return pixels


def hunyuan() -> AutoencoderKLHunyuanVideo:
    torch.manual_seed(0)
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )
    return louder(vae)


def wan() -> AutoencoderKLWan:
    torch.manual_seed(0)
    return louder(AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1))


def louder(vae: Any) -> Any:
    """Random weights paint in grey; so loud that some pixels are clamped."""
    with torch.no_grad():
        for weight in vae.decoder.conv_out.parameters():
            weight.mul_(8)
    return vae.eval()


def rolled(name: str, latents: Tensor, given: int) -> Iterator[RolledSection]:
    sections = plan(parse(name), latents.shape[2], given=frozenset(range(given)))
    for index, section in enumerate(sections):
        yield RolledSection(index, section, latents[:, :, list(section.targets)])


def decoded(name: str, codec: LatentCodec, latents: Tensor, given: int = 1) -> list[DecodedPart]:
    sections, frames = rolled(name, latents, given), latents.shape[2]
    return list(decode_sections(codec, parse(name), latents[:, :, :given], sections, frames=frames))


def assembled(parts: list[DecodedPart], length: int) -> Tensor:
    """The video from what was final; every frame once."""
    video: dict[int, Tensor] = {}
    for part in parts:
        for place, frame in zip(part.final, part.final_pixels.unbind(2), strict=True):
            assert place not in video
            video[place] = frame
    assert sorted(video) == list(range(length))
    return torch.stack([video[place] for place in range(length)], 2)


def noise(frames: int, channels: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(1, channels, frames, 2, 2, generator=torch.Generator().manual_seed(seed))


def times(frames: int) -> Tensor:
    """Latents that hold their index, scaled into the range of pixels."""
    return (torch.arange(frames) / 100)[:, None, None].expand(1, 3, frames, 2, 2)


@dataclass(frozen=True)
class Piped:
    """What diffusers' pipeline made: latents in the order of time, and pixels in [0, 1]."""

    latents: Tensor
    pixels: Tensor


def piped(vae: AutoencoderKLHunyuanVideo, order: str) -> Piped:
    """Run the pipeline itself, four sections of one step, on random weights and embeddings."""
    torch.manual_seed(0)
    transformer = HunyuanVideoFramepackTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        has_image_proj=True,
        image_proj_dim=16,
        has_clean_x_embedder=True,
    )
    pipeline = HunyuanVideoFramepackPipeline(
        None, None, transformer, vae, FlowMatchEulerDiscreteScheduler(), None, None, None, None
    )
    pipeline.encode_image = lambda image, device: torch.randn(1, 3, 16)
    pipeline.set_progress_bar_config(disable=True)
    made: list[Tensor] = []

    def listen(pipeline: Any, step: int, time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        made.append(tensors["latents"])
        return tensors

    first = torch.rand(1, 3, 16, 16)
    pixels = pipeline(
        image=first,
        prompt_embeds=torch.randn(1, 5, 16),
        pooled_prompt_embeds=torch.randn(1, 8),
        prompt_attention_mask=torch.ones(1, 5),
        height=16,
        width=16,
        num_frames=4 * pixel_frames(SECTION, 4),
        latent_window_size=SECTION,
        num_inference_steps=1,
        generator=torch.Generator().manual_seed(5),
        output_type="pt",
        callback_on_step_end=listen,
        sampling_type=order,
    ).frames
    assert len(made) == 4
    codec = VideoCodec(vae)
    start = codec.encode(first[:, :, None] * 2 - 1, generator=torch.Generator().manual_seed(5))
    in_time = made if order == "vanilla" else made[::-1]
    return Piped(torch.cat([start, *in_time], 2), pixels.movedim(1, 2))


@pytest.mark.parametrize(("order", "name"), [("vanilla", FORWARD), ("inverted_anti_drifting", INVERTED)])
@torch.no_grad()
def test_equals_the_released_pipeline(order: str, name: str) -> None:
    vae = hunyuan()
    reference = piped(vae, order)
    assert ((reference.pixels == 0) | (reference.pixels == 1)).any()
    parts = decoded(name, VideoCodec(vae), reference.latents)
    video = assembled(parts, 1 + 4 * 4 * SECTION)
    torch.testing.assert_close(video / 2 + 0.5, reference.pixels, atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [hunyuan, wan])
@pytest.mark.parametrize("name", [FORWARD, INVERTED])
@torch.no_grad()
def test_every_part_equals_the_released_cross_fade(make: Callable[[], Any], name: str) -> None:
    """After every section the video so far is what `_soft_append` makes of decoded slices."""
    codec = VideoCodec(make())
    latents = noise(1 + 4 * SECTION, codec.channels)
    ends = range(SECTION + 1, latents.shape[2] + 1, SECTION)
    history: Tensor | None = None
    overlap = pixel_frames(SECTION, 4)
    video: dict[int, Tensor] = {}
    parts = decoded(name, codec, latents)
    assert [part.index for part in parts] == [0, 1, 2, 3]
    for part, end in zip(parts, ends if name == FORWARD else list(ends)[::-1], strict=True):
        begin = 0 if end == SECTION + 1 else end - SECTION  # with the given frame beside the first section
        forward = name == FORWARD
        window = slice(max(0, end - 2 * SECTION), end) if forward else slice(begin, end + SECTION)
        current = codec.decode(latents[:, :, window], clamp=False)
        if history is None:
            history = current
        else:
            append = HunyuanVideoFramepackPipeline._soft_append
            pair = (history, current) if forward else (current, history)
            history = append(None, *pair, overlap)
        video |= dict(enumerate(part.pixels.unbind(2), part.begin))
        so_far = torch.stack([video[place] for place in sorted(video)], 2)
        torch.testing.assert_close(so_far, history.clamp(-1, 1), atol=1e-6, rtol=0)


ORDERS = [
    FORWARD,
    INVERTED,
    "td_f4k2f1k1_g3_x_f1k1",
    "td_f4k2f1k1_x_g3_x_f1k1",
    "f1k1_g3_x_f1k1_x_f1k1",
    "g3",
]


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("frames", [1, 2, 4, 7, 8, 9, 23, 40])
@pytest.mark.parametrize("given", [1, 5])
def test_every_frame_is_final_once_at_its_time(name: str, frames: int, given: int) -> None:
    latents = times(frames)
    codec = Ruler()
    parts = decoded(name, codec, latents, min(given, frames))
    video = assembled(parts, pixel_frames(frames, 4))
    expected = torch.arange(pixel_frames(frames, 4))[:, None, None] / 400
    torch.testing.assert_close(video, expected.expand_as(video), atol=1e-6, rtol=0)
    for part in parts:  # previews too
        place = torch.arange(part.begin, part.begin + part.pixels.shape[2])[:, None, None]
        torch.testing.assert_close(part.pixels, (place / 400).expand_as(part.pixels), atol=1e-6, rtol=0)
    assert max(codec.calls) <= 3 * SECTION


@pytest.mark.parametrize("name", ORDERS)
def test_a_final_frame_is_what_a_preview_shows_last(name: str) -> None:
    parts = decoded(name, Ruler(seam=0.5), times(23))
    shown: dict[int, Tensor] = {}
    for part in parts:
        shown |= dict(enumerate(part.pixels.unbind(2), part.begin))
    video = assembled(parts, pixel_frames(23, 4))
    assert torch.equal(torch.stack([shown[place] for place in sorted(shown)], 2), video)


@pytest.mark.parametrize("name", ORDERS)
def test_seams_fade(name: str) -> None:
    """The first frame of a stretch is off by a half: only the video's own first frame keeps that."""
    video = assembled(decoded(name, Ruler(seam=0.5), times(31)), pixel_frames(31, 4))
    error = (video - torch.arange(pixel_frames(31, 4))[:, None, None] / 400)[0, 0, :, 0, 0]
    assert error[0] == pytest.approx(0.5)
    assert error[1:].abs().max() < 1e-6


@pytest.mark.parametrize(("name", "windows"), [(FORWARD, 2 * SECTION), (INVERTED, 2 * SECTION + 1)])
@pytest.mark.parametrize("sections", [6, 18])
@pytest.mark.usefixtures("tensors_of_others")
def test_memory_does_not_grow_with_the_video(name: str, windows: int, sections: int) -> None:
    codec = Ruler()
    frames = 1 + sections * SECTION
    places = plan(parse(name), frames)
    sources = (RolledSection(i, at, torch.randn(1, 3, SECTION, 8, 8)) for i, at in enumerate(places))
    first = torch.randn(1, 3, 1, 8, 8)
    parts = decode_sections(codec, parse(name), first, sources, frames=frames)
    for _ in range(sections - 2):
        next(parts)
    kept = first.nbytes * (1 + SECTION + pixel_frames(SECTION, 4))  # this codec's pixel frames are as large
    assert tensor_bytes() == kept
    next(parts)
    assert tensor_bytes() == kept
    next(parts)
    assert tensor_bytes() < kept
    assert max(codec.calls) == windows


@pytest.fixture
def tensors_of_others() -> Iterator[None]:
    """Are not looked at by the garbage collector, which speeds it up and keeps them out of the sum."""
    gc.freeze()
    yield
    gc.unfreeze()


def tensor_bytes() -> int:
    """Bytes of all living tensors that are younger than the test."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) is Tensor]
    stores = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(stores.values())


@pytest.mark.parametrize("name", [FORWARD, INVERTED])
@torch.no_grad()
def test_sections_that_are_settled_have_no_influence(name: str) -> None:
    codec = VideoCodec(wan())
    latents = noise(1 + 5 * SECTION, 16)
    first_made = slice(1, 1 + SECTION) if name == FORWARD else slice(-SECTION, None)
    other = latents.clone()
    other[:, :, first_made] = noise(SECTION, 16, seed=9)
    parts, others = decoded(name, codec, latents), decoded(name, codec, other)
    same = [torch.equal(mine.pixels, theirs.pixels) for mine, theirs in zip(parts, others, strict=True)]
    assert same[:2] == [False, False]
    assert same[3:] == [True, True]


@torch.no_grad()
def test_a_finished_video_is_decoded_as_if_made_forward() -> None:
    codec = VideoCodec(hunyuan())
    latents = noise(12)
    whole = list(decode_whole(codec, latents, SECTION))
    for mine, streamed in zip(whole, decoded(FORWARD, codec, latents), strict=True):
        assert (mine.index, mine.begin, mine.final) == (streamed.index, streamed.begin, streamed.final)
        assert torch.equal(mine.pixels, streamed.pixels)
    (only,) = decode_whole(codec, latents[:, :, :1], SECTION)
    assert torch.equal(only.final_pixels, codec.decode(latents[:, :, :1]))


@pytest.mark.parametrize("name", ORDERS)
@torch.no_grad()
def test_frames_of_their_own_are_final_at_once(name: str) -> None:
    torch.manual_seed(0)
    codec = Codec(CodecConfig(4, (4, 4), (0, 1), (0, 1))).eval()
    latents = noise(11)
    parts = decoded(name, codec, latents)
    assert [part.index for part in parts][:2] == [GIVEN, 0]
    assert all(len(part.final) == part.pixels.shape[2] <= SECTION for part in parts)
    torch.testing.assert_close(assembled(parts, 11), codec.decode(latents), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        assembled(list(decode_whole(codec, latents, SECTION)), 11),
        codec.decode(latents),
        atol=1e-6,
        rtol=1e-5,
    )


def test_cross_fade_equals_the_released_weights() -> None:
    earlier, later = noise(5, seed=1), noise(5, seed=2)
    reference = HunyuanVideoFramepackPipeline._soft_append(None, earlier, later, 5)
    assert torch.equal(cross_fade(earlier, later), reference)
    assert torch.equal(cross_fade(earlier, later)[:, :, 0], earlier[:, :, 0])
    assert torch.equal(cross_fade(earlier, later)[:, :, -1], later[:, :, -1])


def test_more_given_frames_than_the_video_has() -> None:
    with pytest.raises(ValueError, match=r"got 5 given .*expected .*\b4\b"):
        list(decode_sections(Ruler(), parse(FORWARD), times(5), [], frames=4))


@pytest.mark.parametrize("frames", [9, 12])
def test_a_length_that_the_sections_do_not_cover(frames: int) -> None:
    sections = rolled(FORWARD, times(10), given=1)
    with pytest.raises(ValueError, match=rf"\b10 latent .*expected .*\b{frames}\b"):
        list(decode_sections(Ruler(), parse(FORWARD), times(1), sections, frames=frames))
