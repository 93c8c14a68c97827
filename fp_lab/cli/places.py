"""Places of results on the command line, refused as soon as they are read."""

from pathlib import Path

from typer.core import TyperOption

from fp_lab.lab.files.places import check_file, check_folder


def folder_to_write(option: TyperOption, folder: Path | None) -> Path | None:
    """A folder that can be written to or made; None is let through."""
    return None if folder is None else check_folder(option.opts[0], folder)


def file_to_write(option: TyperOption, file: Path | None) -> Path | None:
    """A file whose folder can be written to or made; None is let through."""
    return None if file is None else check_file(option.opts[0], file)
