"""`fp-lab grid --dry-run`: what would be done, and what it would cost."""
