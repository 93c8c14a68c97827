"""A tiny model with random weights, and how it is sampled."""

import torch

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import BASE, parse
from fp_lab.sampling.settings import SamplingConfig

FRAMES = 20
SAMPLING = SamplingConfig(SolverConfig("euler", 3))
VANILLA, INVERTED = "td_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_td"


def model_for(name: str) -> FramePackModel:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=1, head_width=16))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    return FramePackModel(backbone, kernels_of(parse(name)) or [BASE], "clean").eval()
