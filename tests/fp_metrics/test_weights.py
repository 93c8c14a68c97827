"""Weights are brought once, checked always, and never unpickled."""

import ast
import email.message
import hashlib
import io
import pickle
import re
import urllib.request
import urllib.response
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors import safe_open

from fp_carriers import download
from fp_metrics import weights
from fp_metrics.artifact import Artifact, AtURL, OnPyPI
from fp_metrics.weights import (
    ARTIFACTS,
    MissingWeights,
    get_weights,
    in_words,
    names_of,
    place,
    sizes_in_words,
    state_of,
    weights_folder,
    weights_path,
    weights_sha256,
)
from made_up_packages import CONTENT, sha256

ROOT = Path(__file__).parents[2]
MadeUp = dict[str, Artifact]
Serve = Callable[..., None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """``serve(url, content, code=200, location=None)``: what an address answers; there is no network."""
    answers = {}

    def put(url: str, content: bytes, code: int = 200, location: str | None = None) -> None:
        headers = email.message.Message()
        if location is not None:
            headers["Location"] = location
        answer = urllib.response.addinfourl(io.BytesIO(content), headers, url, code)
        answer.msg = "as told"
        answers[url] = answer

    def answered(handler: object, request: urllib.request.Request) -> urllib.response.addinfourl:
        return answers[request.full_url]

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", answered)
    return put


def files() -> list[str]:
    return sorted(file.name for file in weights_folder().iterdir())


def test_missing_weights_say_what_they_are_and_how_they_get_there(made_up_weights: MadeUp) -> None:
    with pytest.raises(MissingWeights) as raised:
        weights_path("carried")
    text = str(raised.value)
    for said in (
        "weights carried ",
        "a net of this test",
        "1.5 kB",
        "Apache-2.0, (c) nobody",
        "fp-lab weights get carried",
        str(weights_folder() / "carried.pth"),
        "fake/net.pth of fake-files 1.0 on PyPI",
    ):
        assert said in text
    assert isinstance(raised.value, ValueError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == text, "it comes from another process whole"


def test_an_unknown_name_says_which_is_close(made_up_weights: MadeUp) -> None:
    for ask in (weights_path, weights_sha256, lambda name: get_weights([name])):
        with pytest.raises(ValueError, match=r"'caried'.* 'carried'"):
            ask("caried")
    with pytest.raises(ValueError, match=r"'xyz'.* carried, published, on-hub"):
        weights_path("xyz")


def test_carried_weights_are_brought_once(made_up_weights: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    (path,) = get_weights(progress=told.append)
    assert path == weights_path("carried") == weights_folder() / "carried.pth"
    assert path.read_bytes() == CONTENT
    monkeypatch.setattr(download.subprocess, "run", None)
    assert get_weights(["carried"], progress=told.append) == (path,)
    assert told == ["carried.pth: fetching fake-files 1.0 (0.0 MB)", "carried.pth: there already"]


def test_published_weights_are_brought_once(made_up_weights: MadeUp, serve: Serve) -> None:
    serve("https://example.org/files/net.pth", b"", 302, "https://elsewhere.org/net")
    serve("https://elsewhere.org/net", CONTENT)
    told: list[str] = []
    (path,) = get_weights(["published"], progress=told.append)
    assert path.read_bytes() == CONTENT
    serve("https://example.org/files/net.pth", b"", 404)
    assert get_weights(["published"], progress=told.append) == (path,)
    assert told == [
        "published: fetching https://example.org/files/net.pth (1.5 kB)",
        "published: 1.5 kB of 1.5 kB",
        "published: there already",
    ]


@pytest.mark.parametrize(
    ("content", "code", "location", "says"),
    [
        (b"", 404, None, "https://example.org/files/net.pth .*404"),
        (CONTENT * 2, 200, None, "3000 bytes, expected 1500"),
        (
            CONTENT[:-1] + b"?",
            200,
            None,
            f"1500 bytes .*sha256 .*, expected 1.5 kB .*{sha256(CONTENT)}",
        ),
        (CONTENT[:-1], 200, None, "1499 bytes .*sha256"),
        (b"", 302, "http://example.org/net.pth", "to http://example.org/net.pth, expected .* https"),
        (b"", 302, "file:///etc/hostname", "'file:///etc/hostname'"),
    ],
)
def test_what_an_address_answers_is_not_trusted(
    made_up_weights: MadeUp, serve: Serve, content: bytes, code: int, location: str | None, says: str
) -> None:
    serve("https://example.org/files/net.pth", content, code, location)
    with pytest.raises(ValueError, match=f"(?s)published: .*{says}"):
        get_weights(["published"])
    assert files() == []


@pytest.mark.parametrize("url", ["http://example.org/net.pth", "file:///etc/hostname", "example.org/net.pth"])
def test_only_https_is_fetched(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{url!r}, expected ")):
        AtURL(url)


def test_weights_of_the_hub_are_shared_with_its_cache(
    made_up_weights: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    blob = tmp_path / "blob"
    blob.write_bytes(CONTENT)
    (tmp_path / "snapshot").symlink_to(blob)

    def fetch(repo: str, file: str, revision: str) -> str:
        asked.append((repo, file, revision))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    (path,) = get_weights(["on-hub"])
    assert get_weights(["on-hub"]) == (path,)
    assert asked == [("nobody/no-such-model", "model.safetensors", "0" * 40)]
    assert path.name == "on-hub.safetensors"
    assert path.samefile(blob)
    assert not path.is_symlink()


def test_what_one_source_lacks_does_not_keep_the_others_away(made_up_weights: MadeUp, serve: Serve) -> None:
    serve("https://example.org/files/net.pth", b"", 503)
    with pytest.raises(ValueError, match="on-hub: nobody/no-such-model ") as raised:
        get_weights(["on-hub", "published", "carried"])
    text = str(raised.value)
    assert "published: https://example.org/files/net.pth" in text
    assert "503" in text
    assert "fp-lab weights get NAME --from FILE" in text
    assert "carried:" not in text
    assert files() == ["carried.pth"]


def test_a_file_is_checked_once_per_state(made_up_weights: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = get_weights()
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(weights.hashlib, "file_digest", lambda *given: read.append(given) or digest(*given))
    for _ in range(3):
        weights_path("carried")
    assert len(read) == 1
    path.write_bytes(CONTENT[:-1] + b"?")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"(?s)1500 bytes .*sha256.*fp-lab weights get carried"):
            weights_path("carried")
    assert len(read) == 2


def test_a_damaged_file_is_replaced(made_up_weights: MadeUp) -> None:
    assert state_of("carried") == "missing"
    (path,) = get_weights()
    assert state_of("carried") == "present"
    path.write_bytes(b"half")
    assert state_of("carried") == "damaged"
    get_weights()
    assert state_of("carried") == "present"


@pytest.mark.parametrize("name", ["carried", "published", "on-hub"])
def test_a_file_brought_by_hand_is_taken_in(made_up_weights: MadeUp, tmp_path: Path, name: str) -> None:
    brought = tmp_path / "brought"
    brought.write_bytes(CONTENT)
    assert place(name, brought) == weights_path(name)
    assert not weights_path(name).samefile(brought)
    brought.write_bytes(b"another")
    with pytest.raises(ValueError, match=r"7 bytes .*sha256"):
        place(name, brought)
    assert weights_path(name).read_bytes() == CONTENT
    assert files() == [made_up_weights[name].file]


def test_a_file_put_there_by_hand_needs_no_network(made_up_weights: MadeUp) -> None:
    weights_folder().mkdir(parents=True)
    for artifact in made_up_weights.values():
        (weights_folder() / artifact.file).write_bytes(CONTENT)
    assert [path.read_bytes() for path in get_weights(made_up_weights)] == [CONTENT] * 3


def test_sizes_are_readable() -> None:
    assert [in_words(size) for size in (4_071, 2_500_000, 1_710_540_580)] == ["4.1 kB", "2.5 MB", "1.7 GB"]


def test_the_manifest_is_consistent() -> None:
    assert all(name == artifact.name for name, artifact in ARTIFACTS.items())
    assert len({artifact.file for artifact in ARTIFACTS.values()}) == len(ARTIFACTS)
    for artifact in ARTIFACTS.values():
        assert re.fullmatch("[0-9a-f]{8}([0-9a-f]{56})?", artifact.sha256), artifact.name
        assert artifact.licence
        assert artifact.families == (("offline",) if isinstance(artifact.source, OnPyPI) else ("paper",))
        # torch.hub's convention: the name ends with the first digits of the sha256
        told = re.search(r"-([0-9a-f]{8})\.pth$", artifact.source.file)
        assert told is None or artifact.sha256.startswith(told[1]), artifact.name
    assert sum("-" in ARTIFACTS[name].source.file for name in ARTIFACTS) == 4


def test_one_package_is_one_carrier() -> None:
    carriers = {a.source.carrier for a in ARTIFACTS.values() if isinstance(a.source, OnPyPI)}
    assert len({carrier.package for carrier in carriers}) == len(carriers) == 8


def test_all_of_the_offline_family_is_there_and_needs_no_network_again(
    offline_weights: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.subprocess, "run", None)
    assert get_weights() == offline_weights
    assert [weights_path(name) for name in names_of("offline")] == list(offline_weights)
    for name in names_of("offline"):
        assert weights_path(name).stat().st_size == ARTIFACTS[name].size


def test_every_network_is_read_without_unpickling(offline_weights: tuple[Path, ...]) -> None:
    """PyTorch's files hold a pickle, so that `weights_only=True` must be enough for each of them."""
    read = 0
    for path in offline_weights:
        assert path.suffix != ".pickle"
        if path.suffix in (".pth", ".pt", ".pkl"):
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=path.suffix == ".pkl")
            assert all(isinstance(value, torch.Tensor) for value in state.values()), path.name
            read += 1
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert len(list(tensors.keys())) > 0
        elif path.suffix == ".tflite":
            assert path.read_bytes()[4:8] == b"TFL3"
    assert read == 3


UNPICKLING = {"pickle.load", "pickle.loads", "pickle.Unpickler", "numpy.load"}
SAFE = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}
"""Readers of more than arrays, and the argument that keeps each to arrays."""


def test_nothing_unpickles() -> None:
    """No pickle is read, and torch.load and np.load read arrays alone, wherever weights are read."""
    for file in [*ROOT.glob("metrics/fp_metrics/**/*.py"), *ROOT.glob("data/fp_carriers/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("pickle", "dill", "joblib", "cloudpickle"), file
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"dill", "joblib", "cloudpickle"}, file
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in UNPICKLING, f"{file}:{node.lineno}"
            if isinstance(node, ast.Call) and (safe := SAFE.get(ast.unparse(node.func))):
                given = [(keyword.arg, ast.unparse(keyword.value)) for keyword in node.keywords]
                assert safe in given, f"{file}:{node.lineno}"


def test_what_is_fetched_counts_each_package_once() -> None:
    both = [ARTIFACTS["dlib-face-embedding"], ARTIFACTS["dlib-face-landmarks-5"]]
    carriers = {a.source.carrier for a in both if isinstance(a.source, OnPyPI)}
    assert len(carriers) == 1
    (package,) = carriers
    kept = f"{sum(a.size for a in both) / 1e6:.1f} MB of it kept"
    assert sizes_in_words(both) == f"{package.size / 1e6:.1f} MB to fetch, {kept}"
    offline = [artifact for artifact in ARTIFACTS.values() if "offline" in artifact.families]
    assert sizes_in_words(offline).startswith("333.7 MB to fetch"), "as README and CONTRIBUTING say it: 334"
    assert sizes_in_words([ARTIFACTS["raft-large"]]) == "21.1 MB"
