"""Encoding: windows of clips, conditions, caches on disk that real models train from."""
