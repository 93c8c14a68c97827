"""Sampling: rollout section by section, what a section attends to, decoding, influence of levels."""
