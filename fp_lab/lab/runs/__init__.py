"""Runs: one arm with one training seed, with stages, job and identity."""
