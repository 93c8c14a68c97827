"""Wan with packed history."""
