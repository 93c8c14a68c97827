"""Console that shows control characters in names and texts instead of obeying them."""

import logging
from collections.abc import Iterable
from pathlib import Path

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from fp_lab.lab.files.names import visible
from fp_lab.lab.runtime.progress import LOG


class Console(rich.console.Console):
    """A console that no file name, label or caption can control."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield printed segments, with control characters made visible."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)

    def say(self, line: str, style: str | None = None) -> None:
        """Print text as it is: no markup, no colours for numbers and paths, no line breaks of its own."""
        self.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
        LOG.info(line)


def log_to(file: Path) -> None:
    """Append the log of this process to a file, with times.

    Raises:
        ValueError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"--log {file}: cannot be written: {error.strerror}") from error
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)


class _OneLine(logging.Formatter):
    """Records with control characters made visible, so that each is one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return visible(super().format(record)).replace("\n", " | ")
