"""Dry run of a grid (`fp-lab grid --dry-run`): pending work and its cost."""
