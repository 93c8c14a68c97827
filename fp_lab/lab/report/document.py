"""HTML documents: pages, sections, pictures."""

import base64
import io
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from fp_lab.lab.files.names import visible
from fp_lab.lab.report.plots.style import DPI, png_size

_CSS_DPI = 96
_WEBP_QUALITY = 90


@dataclass(frozen=True)
class Picture:
    """An image with its description; its files are beside the page, which embeds a copy.

    Attributes:
        path: path of the PNG.
        alt: alternative text, in a few words.
        caption: caption below the picture.
        photo: whether it shows frames of videos, which the page embeds as WebP.
    """

    path: Path
    alt: str
    caption: str
    photo: bool = False

    @property
    def html(self) -> str:
        """Render as a figure with its caption, in the size it was drawn."""
        size = f'alt="{escape(self.alt)}" {drawn_size(self.path)}'
        image = f'<img src="{data_uri(self.path, photo=self.photo)}" {size} loading="lazy">'
        files = [file for file in (self.path, self.path.with_suffix(".svg")) if file.is_file()]
        links = ", ".join(f'<a href="{quote(file.name)}">{file.suffix[1:].upper()}</a>' for file in files)
        caption = f'{escape(self.caption)} <span class="files">{links}</span>'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def data_uri(path: Path, *, photo: bool = False) -> str:
    """Encode a file as a ``data:`` address, so that a page needs no other file.

    Args:
        path: path of a picture or a video.
        photo: whether to compress a picture by WebP, without visible loss.
    """
    kind, content = mimetypes.guess_type(path)[0], path.read_bytes()
    if photo:
        smaller = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").save(smaller, "webp", quality=_WEBP_QUALITY)
        kind, content = "image/webp", smaller.getvalue()
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def drawn_size(path: Path) -> str:
    """Return HTML attributes that show a PNG in the size it was drawn."""
    width, height = (round(side * _CSS_DPI / DPI) for side in png_size(path))
    return f'width="{width}" height="{height}"'


def rows_html(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table of texts.

    Args:
        heads: headings of the columns, plain text.
        rows: cells as HTML.
    """
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="protocol"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def terms_html(entries: Mapping[str, str]) -> str:
    """Render a list of names, plain text, with what they stand for, HTML."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{html}</dd>" for name, html in entries.items())
    return f"<dl>{listed}</dl>"


def pictures_html(pictures: Sequence[Picture]) -> str:
    """Render pictures one below the other."""
    return "\n".join(picture.html for picture in pictures)


def document(name: str, lead: Sequence[str], caveat: str, sections: Mapping[str, str]) -> str:
    """Render a whole page.

    Args:
        name: heading of the page.
        lead: introduction, one paragraph each, plain text.
        caveat: small print below it, plain text.
        sections: heading -> HTML; a heading becomes an anchor of the navigation.
    """
    anchors = {title: escape(title.lower().replace(" ", "-")) for title in sections}
    links = "".join(f'<a href="#{anchors[title]}">{escape(title)}</a>' for title in sections)
    body = "\n".join(
        f'<section id="{anchors[title]}"><h2>{escape(title)}</h2>\n{html}</section>'
        for title, html in sections.items()
    )
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    script = resources.files(__package__).joinpath("page.js").read_text(encoding="utf-8")
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in lead if text)
    small = f'<p class="caveat">{escape(caveat)}</p>' if caveat else ""
    return visible(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)} - fp_lab report</title><style>{style}</style></head>\n"
        f"<body><header><h1>{escape(name)}</h1><nav>{links}</nav></header>\n<main>\n"
        f'<div class="verdict">{paragraphs}{small}</div>\n'
        f"{body}\n</main><script>{script}</script></body></html>\n"
    )
