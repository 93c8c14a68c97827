"""The probe: a small network that reads videos of the synthetic world, trained on damaged renders."""

from fp_lab.lab.probe.measure import HeldOutConfig, measure_probe
from fp_lab.lab.probe.run import Trained, train_probe
from fp_lab.lab.probe.train import ProbeRunConfig, fit

__all__ = ["HeldOutConfig", "ProbeRunConfig", "Trained", "fit", "measure_probe", "train_probe"]
