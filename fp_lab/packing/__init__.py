"""Packing of the history: levels and token counts, which frame lands where, projections, positions."""
