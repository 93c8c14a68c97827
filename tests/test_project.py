"""The wheel holds every room, whether it is built from the tree or from the sdist."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(source: Path, kind: str, destination: Path) -> Path:
    """Build with the hatchling of this environment: no network, nothing isolated."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(destination)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = destination.iterdir()
    return built


def files_of(folder: Path) -> set[str]:
    """What git does not ignore, roughly: no caches."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_complete_from_the_tree_and_from_the_sdist(tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not (unpacked / "runs").exists()

    expected = set()
    for room, place in {
        "fp_lab": "fp_lab",
        "metrics/fp_metrics": "fp_metrics",
        "data/fp_data": "fp_data",
        "data/fp_carriers": "fp_carriers",
        "experiments": "fp_lab/experiments",
    }.items():
        found = {f"{place}/{name}" for name in files_of(ROOT / room)}
        assert found, f"{room} is empty"
        expected |= found

    for source, destination in ((ROOT, tmp_path / "wheel"), (unpacked, tmp_path / "again")):
        with zipfile.ZipFile(build(source, "wheel", destination)) as wheel:
            inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
            entry_points = wheel.read("fp_lab-0.1.0.dist-info/entry_points.txt").decode()
        assert inside == expected
        assert "fp-lab = fp_lab.cli:app" in entry_points


def test_shipped_weights_come_with_their_provenance() -> None:
    weights = list(ROOT.glob("*/**/pretrained/**/*.safetensors"))
    assert weights, "no pretrained weights are shipped"
    for file in weights:
        beside = {path.suffix for path in file.parent.iterdir()}
        assert beside & {".json", ".yaml", ".md"}, f"{file} does not say what made it"


def test_the_lock_has_the_versions_of_the_constraints_and_a_hash_for_each() -> None:
    pin = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
    locked, wanted = (
        {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pin.findall(text)}
        for text in (
            (ROOT / name).read_text(encoding="utf-8") for name in ("constraints.lock", "constraints.txt")
        )
    )
    assert locked == wanted
    entries = re.split(r"\n(?=\S)", (ROOT / "constraints.lock").read_text(encoding="utf-8").rstrip())
    entries = [entry for entry in entries if not entry.startswith("#")]
    assert len(entries) == len(wanted)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)
