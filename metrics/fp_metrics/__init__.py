"""Scores of videos and their drift: iterators of frames in, figures out.

Knows nothing of how a video was made and never decodes one. The names are listed in ``__init__.pyi``; each is
imported when it is asked for, so that statistics alone need no torch.
"""

import lazy_loader

# a function of the same name as its module: imported here, since the module would take its place
from fp_metrics.exposure_bias import exposure_bias as exposure_bias

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
