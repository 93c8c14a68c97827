"""Files from a published address and from the Hugging Face hub."""

import http.client
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fp_metrics.artifact import OnHub, in_words

_CHUNK, _PATIENCE = 2**20, 60  # bytes, seconds without an answer


class _OnlyHTTPS(urllib.request.HTTPRedirectHandler):
    """Follows an address to https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise ValueError(f"{req.full_url} leads to {newurl}, expected an address with https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_url(url: str, destination: Path, size: int, tell: Callable[[str], None]) -> None:
    """Fetch a file, through the user's proxies if the environment names any.

    Args:
        url: https.
        destination: the file to write.
        size: bytes, to the nearest 1 %; more are refused.
        tell: called with a line after every tenth of it.

    Raises:
        ValueError: it cannot be had from there; says why.
    """
    if not url.startswith("https://"):
        raise ValueError(f"got the address {url!r}, expected one that begins with https://")
    opener, had, tenths = urllib.request.build_opener(_OnlyHTTPS), 0, 0
    try:
        with opener.open(url, timeout=_PATIENCE) as answer, destination.open("wb") as file:
            while chunk := answer.read(_CHUNK):
                had += len(chunk)
                if had > 1.01 * size:
                    raise ValueError(f"{url} has more than {had} bytes, expected {size}")
                file.write(chunk)
                if 10 * had // size > tenths:
                    tenths = 10 * had // size
                    tell(f"{in_words(had)} of {in_words(size)}")
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"{url} cannot be fetched: {error}") from error


def fetch_from_hub(source: OnHub) -> Path:
    """A file of the hub, in the hub's own cache and under the user's own settings.

    Raises:
        ValueError: it cannot be had from there; says why.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source.repo, source.file, revision=source.revision))
    except Exception as error:  # its own, requests' or httpx': that depends on its version
        raise ValueError(f"{source.repo} on the hub cannot be fetched: {error}") from error
