"""What results depend on: identities of data and caches, keys of stages, the record of a stage."""
