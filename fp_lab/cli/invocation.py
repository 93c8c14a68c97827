"""Command line of the user."""

import shlex
import sys


def typed_command() -> str:
    """Return the command as typed, beginning with ``fp-lab`` however the program was found."""
    return shlex.join(["fp-lab", *sys.argv[1:]])
