"""Results of grids and runs, loaded from their folders into tidy tables."""
