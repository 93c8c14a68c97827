"""What each arm of a grid changes: its first training batch and sections beside those of other arms."""
