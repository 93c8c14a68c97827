"""What a model is told beside its history: embeddings of captions and images, by transformers."""
