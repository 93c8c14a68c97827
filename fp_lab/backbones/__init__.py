"""Video diffusion transformers behind one protocol."""

from fp_lab.backbones.protocol import Backbone
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, TinySection

__all__ = ["Backbone", "TinyDiT", "TinyDiTConfig", "TinySection"]
