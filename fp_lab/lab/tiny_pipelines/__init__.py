"""Tiny pipelines in diffusers' format with random weights, a few megabytes each, to try every command."""

from fp_lab.lab.tiny_pipelines.build import TinyFamily, build_tiny

__all__ = ["TinyFamily", "build_tiny"]
