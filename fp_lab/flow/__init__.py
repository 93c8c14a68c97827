"""Flow matching: interpolation, targets and loss, solvers, the loss by noise level, noise on the history."""
