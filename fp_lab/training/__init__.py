"""Training logic: the LightningModule, its objective, history noise, optimizer; the codec's training."""
