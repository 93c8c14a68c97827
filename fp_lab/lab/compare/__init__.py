"""Comparison of arms: tables, contrasts paired by video, the paper beside them, a verdict."""
