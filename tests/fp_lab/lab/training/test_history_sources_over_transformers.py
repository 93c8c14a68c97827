"""Sources of histories over transformers of diffusers, with captions as embeddings of a cache."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fp_lab.lab.encoding.conditions import attach_text_embeddings
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.tiny_pipelines import TinyFamily
from fp_lab.lab.tiny_pipelines.parts import WIDTH
from fp_lab.shapes import EncodedText
from fp_lab.training.framepack_system import step_generator
from real_arms import LATENTS, real_config

SOURCES = ("true", "augmented", "recycled", "resampled", "rollout", "reversed")
INVERTED = "f1k1_x_g3_f1k1f2k2_td"
CASES: tuple[tuple[TinyFamily, str], ...] = (
    ("wan", "td_f2k2f1k1_g3"),
    ("hunyuan_video", INVERTED),
    ("framepack", INVERTED),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transformers")


@pytest.mark.parametrize(("family", "recipe"), CASES)
def test_every_source_trains_a_transformer(family: TinyFamily, recipe: str, folder: Path) -> None:
    caption = EncodedText(torch.randn(5, WIDTH), torch.randn(WIDTH))
    batch: Any = {"latents": torch.randn(2, 16, LATENTS, 4, 4), "captions": [caption] * 2}
    if family == "framepack":
        batch["images"] = torch.zeros(2, 4, WIDTH)
    found = {}
    for source in SOURCES:
        settings = (f"recipe={recipe}", f"objective.history.source={source}", "objective.caption_dropout=0")
        config = real_config(family, folder, (*settings, "objective.history.reversed.share=1"))
        system = build_system(
            config, attach_text_embeddings(build_model(config, 16), config, (), guided=False)
        )
        for learned in system.model.parameters():  # adapters begin at 0, where a history does nothing
            learned.data += 0.05 * torch.randn(learned.shape, generator=torch.Generator().manual_seed(0))
        if source == "reversed" and family == "framepack":
            with pytest.raises(ValueError, match="reversed"):
                system.section_loss(batch, step_generator(0, 0, 1))
            continue
        # batches after the first: the bank and the rollouts hold what they have of it
        losses = [system.section_loss(batch, step_generator(0, 0, number)) for number in range(4)]
        losses[-1].backward()
        assert system.model.training
        found[source] = tuple(loss.item() for loss in losses)
    assert torch.tensor(list(found.values())).isfinite().all()
    assert len(set(found.values())) == len(found), found
