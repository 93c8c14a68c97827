"""Encoding of videos and captions: windows of clips, conditions, caches that real models train from."""
