"""The lab around the method: config, runs, grids, tracking, comparison."""
