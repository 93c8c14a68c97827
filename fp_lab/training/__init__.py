"""Training logic: LightningModules, their objective and optimizer; the codec's training."""
