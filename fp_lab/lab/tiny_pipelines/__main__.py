"""Write tiny pipelines: python -m fp_lab.lab.tiny_pipelines FOLDER [FAMILY ...]."""

import argparse
from pathlib import Path
from typing import get_args

from fp_lab.lab.runtime.quiet import quiet_loading
from fp_lab.lab.tiny_pipelines.build import TinyFamily, build_tiny

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path, help="gets one folder per family")
parser.add_argument("families", nargs="*", default=list(get_args(TinyFamily)), help="default: all")
arguments = parser.parse_args()
for family in arguments.families:
    if family not in get_args(TinyFamily):
        parser.error(f"got {family}, expected some of {', '.join(get_args(TinyFamily))}")
    if not (arguments.folder / family).is_dir():
        with quiet_loading():
            build_tiny(family, arguments.folder / family)
    print(arguments.folder / family)
