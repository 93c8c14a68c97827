"""What grids and runs have left in their folders, read into tidy tables."""
