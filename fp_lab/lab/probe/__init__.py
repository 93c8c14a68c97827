"""The probe: a small network that reads videos of the synthetic world, trained on damaged renders."""

from fp_lab.lab.probe.held_out import HeldOutConfig, measure_probe
from fp_lab.lab.probe.train import ProbeRunConfig, fit
from fp_lab.lab.probe.train_and_write import Trained, train_probe

__all__ = ["HeldOutConfig", "ProbeRunConfig", "Trained", "fit", "measure_probe", "train_probe"]
