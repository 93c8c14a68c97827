"""A run: one arm with one training seed, its stages, its job, its identity."""
