"""Walks through a level of Doom, filmed: scripted, seeded, the pose of every frame known.

The engine is ViZDoom (https://vizdoom.farama.org, package vizdoom, an extra), the level its `my_way_home` in
the textures of Freedoom, which the package carries. Nothing moves there but the camera, it does not bob, and
neither weapon nor display is drawn: the picture is a function of the pose, so that what comes back is exact.
"""

from fp_data.vizdoom.make import MakeConfig, make_walks
from fp_data.vizdoom.poses import Poses, gaps, read_poses

__all__ = ["MakeConfig", "Poses", "gaps", "make_walks", "read_poses"]
