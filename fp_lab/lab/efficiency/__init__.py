"""Batch and time efficiency of arms, measured in turn (`fp-lab efficiency`)."""
