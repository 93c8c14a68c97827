"""Cost planning: operations of steps and arms, memory of real models, batches that fit on cards."""
