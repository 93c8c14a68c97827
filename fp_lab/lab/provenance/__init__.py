"""Provenance of results: identities of data and caches, keys of stages, records of stages."""
