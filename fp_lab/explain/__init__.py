"""What an ablation name means, in words and as data for pictures: levels, calls of the sampler, masks."""

from fp_lab.explain.explanation import Explanation, Strip, explain, latent_size, picture, sparkline

__all__ = ["Explanation", "Strip", "explain", "latent_size", "picture", "sparkline"]
