"""Costs before anything is run: operations of steps and arms, memory of real models, what fits where."""
