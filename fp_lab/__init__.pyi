from .backbones.protocol import BACKBONES, Backbone
from .backbones.tiny import TinyDiT, TinyDiTConfig
from .codecs.protocol import CODECS, LatentCodec
from .codecs.video import load_codec
from .flow.history_sources import HISTORY_SOURCES
from .flow.solvers import SOLVERS, SolverConfig
from .model import FramePackModel
from .packing.context import IMPORTANCES, PACKERS, ContextConfig
from .packing.packer import ContextPacker, kernels_of
from .recipe import COMPRESSIONS, Recipe, parse
from .recipe.compressions import from_parts
from .recipe.orders import ORDERS, Call, Section, plan
from .registry import load_plugins
from .sampling.rollout import RolledSection, rollout
from .sampling.settings import SamplingConfig
from .training.framepack_module import FramePackModule
from .training.history import HistorySource, Videos

__all__ = [
    "BACKBONES",
    "CODECS",
    "COMPRESSIONS",
    "HISTORY_SOURCES",
    "IMPORTANCES",
    "ORDERS",
    "PACKERS",
    "SOLVERS",
    "Backbone",
    "Call",
    "ContextConfig",
    "ContextPacker",
    "FramePackModel",
    "FramePackModule",
    "HistorySource",
    "LatentCodec",
    "Recipe",
    "RolledSection",
    "SamplingConfig",
    "Section",
    "SolverConfig",
    "TinyDiT",
    "TinyDiTConfig",
    "Videos",
    "from_parts",
    "kernels_of",
    "load_codec",
    "load_plugins",
    "parse",
    "plan",
    "rollout",
]
