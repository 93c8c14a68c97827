"""The command that the user typed."""

import shlex
import sys


def typed_command() -> str:
    """As it was typed, whatever way the program was found: it begins with ``fp-lab``."""
    return shlex.join(["fp-lab", *sys.argv[1:]])
