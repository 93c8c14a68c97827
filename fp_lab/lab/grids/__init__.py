"""Grids: what their arms are, which folders they get, what is refused, how they are done."""
