"""FramePack as a laboratory: the method, and the lab around it.

What a script or a plugin needs is offered here; the names are listed in ``__init__.pyi``, and each is
imported when it is asked for, so that ``import fp_lab`` alone needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
