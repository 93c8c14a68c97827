"""Names of files and folders: checks and printable forms (standard library only)."""

import os
import re
import unicodedata
from collections.abc import Collection

IN_RUNS = (
    "cache",
    "mlartifacts",
    "mlflow.db",
    "mlflow.lock",
    "mlflow.db-journal",
    "mlflow.db-wal",
    "mlflow.db-shm",
)
IN_GRIDS = ("truth", "report", "reports", "efficiency", "track", "grid.yaml", "command.txt", "index.parquet")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline; marks of text direction; bytes of names that are no UTF-8."""
_LONGEST = 200  # bytes; file systems take 255, and more is put behind a name


def check_folder_name(what: str, name: str, taken: Collection[str]) -> str:
    """Check that a name can be one folder of its own.

    Args:
        what: subject and origin of the name, for the message.
        name: name to check.
        taken: reserved names of the lab in the same folder.

    Returns:
        The name.

    Raises:
        ValueError: the name is empty, a path of several folders, a parent folder, reserved, or not printable.
    """
    fault = ""
    if not name.strip():
        fault = "nothing"
    elif name in (".", "..") or any(mark in name for mark in "/\\"):
        fault = "a path"
    elif not name.isprintable():
        fault = "characters that are not printed"
    elif name.startswith("."):
        fault = "the name of a hidden folder"
    elif name.lower() in taken or name.lower().partition(".")[0] in taken:  # report.done.json, truth.damaged
        fault = "a name that the lab needs there"
    elif len(name.encode(errors="surrogatepass")) > _LONGEST:
        fault = f"more than {_LONGEST} bytes"
    if fault:
        raise ValueError(f"{what}: got {name!r}, {fault}; expected the name of one folder, such as warmup_3")
    return name


def shown(name: str) -> str:
    r"""Return a file name as text that can be written anywhere.

    Bytes that are no UTF-8 and control characters are escaped, as in ``caf\xe9.mp4``; decomposed characters,
    as one system makes them and another does not, are composed.
    """
    text = unicodedata.normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) == "Cc" else letter
        for letter in text
    )


def visible(text: str) -> str:
    """Escape the control characters of a text."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
