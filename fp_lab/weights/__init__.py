"""Files of weights: reading and hashing, folders in diffusers' format, the shipped models."""
