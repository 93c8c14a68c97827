"""HunyuanVideo with packed history."""
