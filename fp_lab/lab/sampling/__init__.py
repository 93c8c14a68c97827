"""Sampling: the evaluation videos of an arm, and videos on demand."""
