"""Scores over a training: checkpoints, what they score, and which one is best."""
