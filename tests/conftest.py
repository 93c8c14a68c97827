"""What every test runs under: shapes checked, no hub, no screen, no deadlines, the same draws each time."""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import jaxtyping
from hypothesis import settings

# Types and axes of every annotated function in the rooms. Tower: an int may stand for a float, as in mypy.
jaxtyping.install_import_hook(
    ["fp_lab", "fp_metrics", "fp_data"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

settings.register_profile("fp_lab", deadline=None, derandomize=True)
settings.load_profile("fp_lab")
