"""Sampling of the evaluation videos of an arm, and of videos on demand."""
