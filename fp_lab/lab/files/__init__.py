"""Files and folders: atomic writes, locks, digests, names, the folder of a run, weights."""
