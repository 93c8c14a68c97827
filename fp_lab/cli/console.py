"""Console that shows control characters in names and texts instead of obeying them."""

from collections.abc import Iterable

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from fp_lab.lab.files.names import visible


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
