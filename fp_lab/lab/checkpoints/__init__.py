"""Scores over a training: scores of its checkpoints, and the best one."""
