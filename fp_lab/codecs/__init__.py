"""Pixels to latents and back: the small codec, and the video VAEs of diffusers."""
