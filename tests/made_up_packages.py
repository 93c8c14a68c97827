"""Packages that carry files and weights, made up for tests."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from fp_carriers import Carrier
from fp_metrics.artifact import Artifact, AtURL, OnHub, OnPyPI

CONTENT = b"moving pictures" * 100
METADATA = "Metadata-Version: 2.1\nName: fake-files\nVersion: 1.0\n"
SPY = "open({trace!r}, 'w').write('the sdist ran its own code')\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put_wheel(index: Path, members: dict[str | zipfile.ZipInfo, bytes], tag: str = "py3-none-any") -> Carrier:
    """A wheel of the package fake-files in the folder that pip takes packages from."""
    path = index / f"fake_files-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("fake_files-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("fake_files-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        wheel.writestr("fake_files-1.0.dist-info/RECORD", "")
        for name, content in members.items():
            wheel.writestr(name, content)
    return Carrier("fake-files", "1.0", sha256(path.read_bytes()), path.stat().st_size)


def put_sdist(index: Path, trace: Path, *, pyproject: bool = True) -> Carrier:
    """An sdist with a file, links and a folder; its setup.py and build backend leave a trace when run.

    Without a pyproject.toml its backend is setuptools, which runs setup.py.
    """
    path = index / "fake_files-1.0.tar.gz"
    spy = SPY.format(trace=str(trace))
    members = {
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'spying.backend'\n",
        "setup.py": spy,
        "spying/__init__.py": spy,
        "spying/backend.py": spy,
        "PKG-INFO": METADATA,
        "v.mp4": CONTENT.decode(),
    }
    if not pyproject:
        del members["pyproject.toml"]
    with tarfile.open(path, "w:gz") as sdist:
        for name, text in members.items():
            info = tarfile.TarInfo(f"fake_files-1.0/{name}")
            info.size = len(text.encode())
            sdist.addfile(info, io.BytesIO(text.encode()))
        for name, kind in {
            "link.mp4": tarfile.SYMTYPE,
            "hard.mp4": tarfile.LNKTYPE,
            "sub": tarfile.DIRTYPE,
        }.items():
            entry = tarfile.TarInfo(f"fake_files-1.0/{name}")
            entry.type, entry.linkname = kind, "/etc/hostname"
            sdist.addfile(entry)
    backend = "spying.backend" if pyproject else "setuptools.build_meta:__legacy__"
    return Carrier("fake-files", "1.0", sha256(path.read_bytes()), path.stat().st_size, backend)


def put_weights(index: Path) -> dict[str, Artifact]:
    """Artifacts of all three kinds and of one content; the carried one lies in the folder of packages."""
    carrier = put_wheel(index, {"fake/net.pth": CONTENT})
    sources = {
        "carried": OnPyPI(carrier, "fake/net.pth"),
        "published": AtURL("https://example.org/files/net.pth"),
        "on-hub": OnHub("nobody/no-such-model", "model.safetensors", "0" * 40),
    }
    known = "a net of this test", "Apache-2.0, (c) nobody", len(CONTENT), sha256(CONTENT)
    return {
        name: Artifact(name, *known, source, ("offline",) if name == "carried" else ("paper",))
        for name, source in sources.items()
    }
