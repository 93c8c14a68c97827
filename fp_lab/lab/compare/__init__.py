"""Comparison of arms: tables, contrasts paired by video, the paper's values, a verdict."""
