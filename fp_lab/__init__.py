"""FramePack as a laboratory: the method, and the lab around it."""
