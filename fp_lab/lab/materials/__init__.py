"""Materials of arms, built from their config: codec, model, system, videos."""
