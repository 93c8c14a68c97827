"""Work of ``fp-lab probe train``: train, measure, write weights and provenance."""

import csv
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from fp_data.atomic import replacing
from fp_lab.checks.finite import check_weights
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.files.atomic import read_json, write_text
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.probe.held_out import HeldOutConfig, measure_probe
from fp_lab.lab.probe.train import ProbeRunConfig, fit
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.fit_with_curve import CURVE_FILE
from fp_lab.lab.training.model_record import write_record
from fp_lab.model import FramePackModel
from fp_lab.weights.files import file_sha256
from fp_metrics.networks.probe import PROVENANCE_FILE, WEIGHTS_FILE, Probe

COMMAND = "fp-lab probe train"


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        probe: probe in inference mode.
        sha256: hex digest of the probe's file.
        held_out: accuracy on held-out data, see `fp_metrics.families.probe.held_out`.
    """

    probe: Probe
    sha256: str
    held_out: dict[str, float] = field(default_factory=dict)


def train_probe(
    config: ProbeRunConfig,
    folder: Path,
    command: str,
    *,
    held_out: HeldOutConfig | None = None,
    reporter: Reporter | None = None,
) -> Trained:
    """Train a probe, measure it and write it with its provenance and curve.

    Nothing is written before all is measured, so an interrupted training leaves existing files unchanged and
    starts anew; it takes a few minutes. An existing probe is replaced.

    Args:
        config: settings of the training; the same ones give the same bits on the same machine.
        folder: output folder: new, empty, or of another probe.
        command: command line of the user, for the provenance.
        held_out: held-out data to measure on.
        reporter: receiver of progress.

    Raises:
        ValueError: the folder holds other files, or another process writes into it.
    """
    check_folder(folder)
    with only_writer(folder):
        return _train(config, folder, command, HeldOutConfig() if held_out is None else held_out, reporter)


def _train(
    config: ProbeRunConfig,
    folder: Path,
    command: str,
    measured_on: HeldOutConfig,
    reporter: Reporter | None,
) -> Trained:
    probe, curve = fit(config, reporter)
    check_weights(probe.state_dict(), "trained probe")
    codec = Codec.load(config.codec)
    figures = measure_probe(probe, measured_on, codec, reporter)
    with replacing(folder / WEIGHTS_FILE) as unfinished:
        save_file({name: value.contiguous() for name, value in probe.state_dict().items()}, unfinished)
    sha256 = file_sha256(folder / WEIGHTS_FILE)
    made: dict[str, Any] = {
        "codec_sha256": codec.sha256,
        "held_out": figures,
        "measured_on": asdict(measured_on)
        | ({"base_sha256": FramePackModel.load().sha256} if measured_on.generated else {}),
        "sha256": sha256,
    }
    rows = io.StringIO(newline="")
    csv.writer(rows, lineterminator="\n").writerows(
        [("step", "loss", "seconds"), *((step, f"{loss:.4f}", f"{s:.1f}") for step, loss, s in curve)]
    )
    write_text(folder / CURVE_FILE, rows.getvalue())
    write_record(folder, command, config, made)
    return Trained(probe, sha256, figures)


def check_folder(folder: Path) -> None:
    """Check that a folder holds nothing but a probe: another model's files have the same names.

    Raises:
        ValueError: the folder holds other files, named in the message.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder for the probe")
    path = folder / PROVENANCE_FILE
    made_by = read_json(path).get("command", "")
    there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if there and not str(made_by).startswith(COMMAND):
        raise ValueError(
            f"{folder} holds {', '.join(there[:3])} and no probe of `{COMMAND}`; give a new folder with --to"
        )
