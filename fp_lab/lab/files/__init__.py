"""Files and folders: atomic writes, locks, digests, names, run folders, weights."""
