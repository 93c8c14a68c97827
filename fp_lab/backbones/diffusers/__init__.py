"""What transformers of diffusers have in common: families, presets, low-rank adapters."""
