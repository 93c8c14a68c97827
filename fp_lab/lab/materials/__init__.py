"""What a config names, made: codec, model, system, videos."""
