"""Which code a stage depends on, and what counts as a change of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fp_lab.lab import sources
from fp_lab.lab.sources import STAGE_SOURCES, Sources, imported_by, stage_digest


def packages_of(stage: str) -> set[str]:
    return {module.partition(".")[0] for module in imported_by(STAGE_SOURCES[stage])}


def test_training_does_not_depend_on_metrics_or_on_how_videos_are_sampled() -> None:
    found = set(imported_by(STAGE_SOURCES["train"]))
    assert {"fp_lab.system", "fp_lab.packing.packer", "fp_lab.backbones.tiny", "fp_data.worlds"} <= found
    assert not {"fp_lab.rollout", "fp_lab.solvers", "fp_lab.lab.sample", "fp_lab.lab.evaluate"} & found
    assert "fp_metrics" not in packages_of("train")


def test_sampling_depends_on_the_solvers_and_not_on_metrics() -> None:
    found = set(imported_by(STAGE_SOURCES["sample"]))
    assert {"fp_lab.rollout", "fp_lab.solvers", "fp_lab.orders"} <= found
    assert "fp_metrics" not in packages_of("sample")


def test_scores_depend_on_the_estimators_and_not_on_training() -> None:
    found = set(imported_by(STAGE_SOURCES["truth"]))
    assert {"fp_metrics.drift", "fp_metrics.families.world.look", "fp_lab.codec"} <= found
    assert not {"fp_lab.system", "fp_lab.rollout", "fp_lab.lab.train"} & found


PART = 'import math\n\n\ndef one():\n    """One."""\n    from made_up import far\n\n    return far.y\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of ours: an entry imports a part, which imports another module; one is imported by none."""
    folder = tmp_path / "made_up"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A package."""\n')
    (folder / "entry.py").write_text("from made_up.part import one\n\nx = one()\n")
    (folder / "part.py").write_text(PART)
    (folder / "far.py").write_text("y = 1\n")
    (folder / "other.py").write_text("z = 1\n")
    with monkeypatch.context() as patch:
        patch.setattr(sources, "PACKAGES", ("made_up",))
        patch.setitem(STAGE_SOURCES, "train", Sources(("made_up.entry",)))
        patch.syspath_prepend(tmp_path)
        forget()
        yield folder
    forget()


def forget() -> None:
    for kept in (sources.stage_digest, sources._file, sources._read):
        kept.cache_clear()


def test_imports_are_followed_through_functions_and_packages(package: Path) -> None:
    assert list(imported_by(Sources(("made_up.entry",)))) == [
        "made_up", "made_up.entry", "made_up.far", "made_up.part",
    ]  # fmt: skip
    (package / "__init__.pyi").write_text("from .other import z as z\nfrom . import far\n")
    forget()
    without = imported_by(Sources(("made_up.entry",), without=("made_up.part", "made_up.far")))
    assert list(without) == ["made_up", "made_up.entry", "made_up.other"], "the package has a stub"
    with pytest.raises(ValueError, match=r"no module made_up\.nothing"):
        imported_by(Sources(("made_up.nothing",)))


@pytest.mark.parametrize(
    ("file", "text", "same"),
    [
        ("far.py", "y = 2\n", False),
        ("far.py", "# a comment\n\ny  =  1\n", True),
        ("part.py", PART.replace("far.y", "far.y + 1"), False),
        ("part.py", PART.replace("One.", "Uno.").replace("\n\n", "\n"), True),
        ("other.py", "z = 2\n", True),
        ("__init__.py", "w = 2\n", False),
    ],
)
def test_a_change_of_code_counts_and_one_of_words_does_not(
    package: Path, file: str, text: str, same: bool
) -> None:
    before = stage_digest("train")
    (package / file).write_text(text)
    forget()
    assert (stage_digest("train") == before) is same
