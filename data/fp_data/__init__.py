"""Data for the lab: synthetic worlds, real clips, and their way to and from disk.

Nothing here knows a recipe, a model or a metric.
"""
