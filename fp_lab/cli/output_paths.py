"""Checks of output paths on the command line, as soon as they are read."""

from pathlib import Path

from typer.core import TyperOption

from fp_lab.lab.files.output_paths import check_file, check_folder


def folder_to_write(option: TyperOption, folder: Path | None) -> Path | None:
    """Check that a folder can be written to or created; None is allowed."""
    return None if folder is None else check_folder(option.opts[0], folder)


def file_to_write(option: TyperOption, file: Path | None) -> Path | None:
    """Check that a file's folder can be written to or created; None is allowed."""
    return None if file is None else check_file(option.opts[0], file)
