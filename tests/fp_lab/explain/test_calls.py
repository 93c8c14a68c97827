"""What pictures of names and baselines show, as data: frames in boxes, tokens, masks."""

import pytest
from hypothesis import given

from fp_lab.baselines import BASELINES, baseline
from fp_lab.explain.calls import SHOWN, Row, row_of, shown_calls, structure
from fp_lab.explain.masks import LENGTH, mask, reading
from fp_lab.packing.token_counts import context_tokens
from fp_lab.recipe import BASE, Kernel, parse
from fp_lab.recipe.orders import implied_fill, plan
from strategies import names

K2 = Kernel(2, 4, 4)


def written(row: Row) -> str:
    """A row as text: frames of one box joined, ``t`` for a tail, ``!`` for what is kept at any distance."""
    signs = {"generated": "G", "dropped": "-", "unknown": "."}
    words = []
    for box in row.boxes:
        sign = signs.get(box.kind, "" if box.kernel is None else str(box.kernel))
        tail = "t" if box.kind == "tail" else ""
        kept = "!" if box.placement not in (None, "adjacent") else ""
        words.append("+".join(map(str, box.frames)) + sign + tail + kept)
    return " ".join(words)


def test_a_vanilla_name_with_a_compressed_tail() -> None:
    shown = structure("tc_f2k2f1k1_g2", height=8, width=8, frames=9)
    assert [written(row) for row in shown.rows] == [
        "0k1 1G 2G 3. 4. 5. 6. 7. 8.",
        "0+1k2 2k1 3G 4G 5. 6. 7. 8.",
        "0+1k2t 2+3k2 4k1 5G 6G 7. 8.",
        "0+1+2+3k2t 4+5k2 6k1 7G 8G",
    ]
    assert [row.call for row in shown.rows] == [1, 2, 3, 4]
    assert [row.tokens for row in shown.rows] == [16, 4 + 16, 4 + 4 + 16, 4 + 4 + 16]
    assert [(share.kind, share.kernel, share.tokens) for share in shown.rows[2].shares] == [
        ("tail", K2, 4),
        ("level", K2, 4),
        ("level", BASE, 16),
    ]


def test_an_inverted_name_that_drops_its_tail() -> None:
    shown = structure("f1k1_x_g2_f1k1f2k2_td", height=8, width=8, frames=9)
    assert [written(row) for row in shown.rows] == [
        "0k1! 1. 2. 3. 4. 5. 6. 7G 8G",
        "0k1! 1. 2. 3. 4. 5G 6G 7k1 8k2",
        "0k1! 1. 2. 3G 4G 5k1 6+7k2 8-",
        "0k1! 1G 2G 3k1 4+5k2 6- 7- 8-",
    ]
    assert [row.tokens for row in shown.rows] == [16, 36, 36, 36]


def test_a_tail_of_frames_averaged_one_by_one() -> None:
    row = structure("ta_f1k1_g2", height=8, width=8, frames=7).rows[-1]
    assert written(row) == "0k1t 1k1t 2k1t 3k1t 4k1 5G 6G"
    assert row.tokens == 4 + 16


def test_planned_rows_say_which_prompt_drives_them() -> None:
    shown = structure("f1k1_g2_x_f1k1_x_f1k1", height=8, width=8, frames=9)
    assert [written(row) for row in shown.rows] == [
        "0- 1. 2. 3G 4G 5. 6. 7. 8.",
        "0- 1. 2. 3- 4- 5. 6. 7G 8G",
        "0k1 1G 2G 3k1! 4- 5. 6. 7- 8k1!",
        "0- 1- 2- 3- 4k1 5G 6G 7k1! 8k1!",
    ]
    assert [row.prompt for row in shown.rows] == [1, 2, 1, 2]
    assert structure("f1k1_g2", frames=9).rows[0].prompt is None


def test_frames_that_share_a_token_need_not_be_contiguous() -> None:
    row = structure("f8k4_g2_x_f1k1_x_f1k1", height=8, width=8, frames=9).rows[1]
    assert written(row) == "0+3+4k4 1. 2. 5. 6. 7G 8G"
    assert row.tokens == 1


@given(names())
def test_every_frame_is_in_one_box_and_the_boxes_cost_what_the_context_does(name: str) -> None:
    recipe = parse(name)
    frames = 1 + 4 * recipe.section
    for call, section in enumerate(plan(recipe, frames, fill=implied_fill(recipe)), start=1):
        row = row_of(recipe, call, section, frames, 16, 16)
        assert sorted(frame for box in row.boxes for frame in box.frames) == list(range(frames))
        counts = context_tokens(recipe, section, frames, 16, 16)
        assert row.tokens == counts.total
        levels = [box.kernel for box in row.boxes if box.kind == "level" and box.kernel is not None]
        assert sum(counts.levels) == sum(-(-16 // k.h) * -(-16 // k.w) for k in levels)


def test_the_first_a_middle_and_the_last_calls_are_shown() -> None:
    assert shown_calls(SHOWN) == (1, 2, 3, 4, 5, 6)
    assert shown_calls(7) == (1, 2, 3, 4, 6, 7)
    assert shown_calls(21) == (1, 2, 3, 11, 20, 21)


def test_the_context_is_followed_far_beyond_the_video() -> None:
    flat = structure("td_f4k4f2k2f1k1_g2", 32, 32)
    assert flat.lengths[0] == (1, 256)
    assert dict(flat.lengths)[4096] == flat.explanation.context_limit
    assert [history for history, _ in flat.lengths] == sorted({history for history, _ in flat.lengths})
    growing = dict(structure("ta_f4k4f2k2f1k1_g2", 32, 32).lengths)
    assert growing[4096] - growing[100] == 4096 - 100


def test_a_video_of_its_first_frame_has_no_picture() -> None:
    with pytest.raises(ValueError, match=r"frames: got 1, expected .*\b2\b"):
        structure("f1k1_g9", frames=1)


def test_masks() -> None:
    assert mask("full", 2) == ((True, True), (True, True))
    assert mask("isolated", 3) == ((True, True, False), (True, True, False), (True, True, True))
    assert mask("block_causal", 3) == ((True, False, False), (True, True, False), (True, True, True))


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_read_as_it_is_defined(name: str) -> None:
    shown, made = reading(name), baseline(name, frames=LENGTH, rows=60, columns=104)
    assert shown.recipe == made.recipe
    assert shown.attention == made.settings.get("context.attention", "full")
    assert shown.noises[0] == made.settings.get("sampling.history_level", 0.0)
    frames = [frame for block in shown.blocks for frame in block.frames]
    assert frames == sorted(set(frames))
    assert frames[-1] < LENGTH
    assert len(shown.reads) == len(shown.blocks)


def test_causal_attention_has_blocks_of_a_section_and_guidance_has_two_passes() -> None:
    causal = reading("causal_attention")
    assert {len(block.frames) for block in causal.blocks} == {causal.recipe.section}
    assert causal.reads == mask("block_causal", len(causal.blocks))
    assert reading("history_guidance").noises == (0.1, 1.0)
    assert [block.label for block in reading("anchor_frames").blocks] == ["f1k1", "f15k1", "g17"]
    assert reading("full_history").blocks[0].frames[0] == 0
