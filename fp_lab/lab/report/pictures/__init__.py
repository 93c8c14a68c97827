"""Pictures of ablation names: calls of the sampler, attention masks."""
