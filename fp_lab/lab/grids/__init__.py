"""Grids: arms, their folders, checks before the start, and execution."""
