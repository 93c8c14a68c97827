"""What every page is made of: the document, its sections, pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from fp_lab.lab.report.style import DPI, png_size

_CSS_DPI = 96


@dataclass(frozen=True)
class Picture:
    """An image file beside the page and what it shows."""

    path: Path
    alt: str
    caption: str

    @property
    def html(self) -> str:
        """A figure with its caption, as large as it was drawn."""
        source = quote(self.path.name)
        width, height = (round(side * _CSS_DPI / DPI) for side in png_size(self.path))
        size = f'width="{width}" height="{height}"'
        image = f'<a href="{source}"><img src="{source}" alt="{escape(self.alt)}" {size} loading="lazy"></a>'
        return f"<figure>{image}<figcaption>{escape(self.caption)}</figcaption></figure>"


def pictures_html(pictures: Sequence[Picture]) -> str:
    """One below the other."""
    return "\n".join(picture.html for picture in pictures)


def document(name: str, lead: Sequence[str], caveat: str, sections: Mapping[str, str]) -> str:
    """A whole page.

    Args:
        name: heading.
        lead: what a reader should know first, one paragraph each, plain text.
        caveat: in small print below it, plain text.
        sections: heading -> HTML; a heading becomes an anchor of the navigation.
    """
    anchors = {title: title.lower().replace(" ", "-") for title in sections}
    links = "".join(f'<a href="#{anchors[title]}">{escape(title)}</a>' for title in sections)
    body = "\n".join(
        f'<section id="{anchors[title]}"><h2>{escape(title)}</h2>\n{html}</section>'
        for title, html in sections.items()
    )
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    script = resources.files(__package__).joinpath("page.js").read_text(encoding="utf-8")
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in lead if text)
    small = f'<p class="caveat">{escape(caveat)}</p>' if caveat else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)} - fp_lab report</title><style>{style}</style></head>\n"
        f"<body><header><h1>{escape(name)}</h1><nav>{links}</nav></header>\n<main>\n"
        f'<div class="verdict">{paragraphs}{small}</div>\n'
        f"{body}\n</main><script>{script}</script></body></html>\n"
    )
