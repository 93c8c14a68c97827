"""Pictures of what a name means: calls of the sampler, attention masks."""
