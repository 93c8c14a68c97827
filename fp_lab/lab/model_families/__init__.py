"""Families of models: what differs between arms over fp_lab's own backbones and over those of diffusers."""
