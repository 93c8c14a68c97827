"""Training of arms and of the shipped models: fit, ranks, checkpoints, averaged weights."""
