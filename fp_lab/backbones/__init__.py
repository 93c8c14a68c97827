"""Video diffusion transformers behind one protocol (`fp_lab.backbones.protocol`)."""
