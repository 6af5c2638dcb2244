"""One self-contained HTML page: text, tables and plots, nothing loaded from anywhere."""

import base64
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib
import msgspec
from markupsafe import Markup
from matplotlib.figure import Figure

from edgetl.files import write_bytes


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A small JPEG file with the lines below it. `alt` says in words what it shows."""

    alt: str
    caption: tuple[str, ...]
    jpeg: bytes


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A heading with a paragraph, a list, a table, a plot and a grid of pictures, each optional.

    `alt` says in words what the plot shows. `fold`: what one clicks on to see the table, which then comes last; without
    it the table is open and before the plot. `wide`: the pictures have details that must be seen.
    """

    title: str
    text: str = ""
    lines: Sequence[str] = ()
    header: tuple[str, ...] = ()
    rows: Sequence[Sequence[str]] = ()
    fold: str = ""
    plot: Figure | None = None
    alt: str = ""
    pictures: Sequence[Picture] = ()
    wide: bool = False


PLOT_WIDTH = 5.0
"""Inches of a usual plot: half a page, and readable without scrolling on a phone."""

PLOT_LABEL_CHARACTERS = 24
"""Longer names are cut in plots; the tables have them whole."""

MIN_SCALE = 0.7
"""On a narrow screen a plot shrinks to this, so that its text stays readable, and scrolls from there on."""

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""What HTML may not have, and what is no text."""

TAG = re.compile(r"<[a-zA-Z][^>]*>")
WIDTH = re.compile(r'<svg [^>]*width="([0-9.]+)pt"')
STYLE = re.compile(r' style="([^"]*)"')
DECLARATION = re.compile(r"\s*([a-z-]+):\s*([^;]*);?")
REFERENCE = re.compile(r' id="|href="#|url\(#')
"""An id or what points to one, inside a tag: every plot has its own `axes_1`, which a page may have only once."""

TEMPLATE = """{% macro table(section) %}<div class="table" role="region" aria-label="{{ section.title }}" tabindex="0">
<table>
{% if section.header %}<thead><tr>
{% for cell in section.header %}<th scope="col">{{ cell }}</th>{% endfor %}
</tr></thead>{% endif %}
<tbody>{% for row in section.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>{% endmacro -%}
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
  overflow-wrap: break-word }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.table { overflow-x: auto } table { border-collapse: collapse }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
th { font-weight: 600 } pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; white-space: pre-wrap }
svg { max-width: 100%; height: auto } figure { margin: 1rem 0; overflow-x: auto }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: 1rem; padding: 0 }
.pictures li { list-style: none; font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere }
.pictures img { width: 7rem; height: auto; display: block; margin-bottom: .3rem }
.pictures.wide { grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)) }
.pictures.wide img { width: 100% }
.pictures span { display: block } summary { cursor: pointer }
@media screen and (prefers-color-scheme: dark) {
  body { background: #141414; color: #e6e6e6 } th, td { border-color: #444 } pre { background: #262626 }
  svg { filter: invert(.92) hue-rotate(180deg) }
}
@media print {
  :root { color-scheme: light } body { max-width: none; margin: 0; font-size: 10pt } .table { overflow: visible }
  figure { overflow: visible; break-inside: avoid } h2 { break-after: avoid } tr { break-inside: avoid }
  th, td { padding-right: .4rem; font-size: 8pt } details::details-content { content-visibility: visible; height: auto }
}
</style></head><body><main>
<h1>{{ title }}</h1><p>{{ summary }}</p>
{% for section in sections %}<section><h2>{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if section.lines %}<ul>{% for line in section.lines %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
{% if section.rows and not section.fold %}{{ table(section) }}{% endif %}
{% if section.plot %}<figure role="img" aria-label="{{ section.alt }}" tabindex="0">
{{ svg(section.plot, loop.index) }}</figure>{% endif %}
{% if section.rows and section.fold %}<details><summary>{{ section.fold }}</summary>
{{ table(section) }}</details>{% endif %}
{% if section.pictures %}<ul class="pictures{{ " wide" if section.wide }}">{% for picture in section.pictures %}
<li><img src="{{ data_url(picture.jpeg) }}" alt="{{ picture.alt }}">
{% for line in picture.caption %}<span>{{ line }}</span>{% endfor %}</li>{% endfor %}</ul>{% endif %}
</section>{% endfor %}
{% if command %}<section><h2>How to reproduce</h2><pre>{{ command }}</pre></section>{% endif %}
</main></body></html>
"""


def write_page(path: Path, title: str, summary: str, sections: Sequence[Section], command: str = "") -> None:
    """Writes the page; all text is escaped, plots are inline SVG. The same content gives the same bytes."""
    environment = jinja2.Environment(autoescape=True)
    page = environment.from_string(TEMPLATE).render(
        title=title, summary=summary, sections=sections, command=command, svg=_svg, data_url=_data_url
    )
    write_bytes(path, CONTROL.sub("", page).encode())


def literal(name: str) -> str:
    """A user's name as matplotlib shows it, literally and short: `$` is no formula, a line break no new line."""
    text = " ".join(name.split())
    cut = text if len(text) <= PLOT_LABEL_CHARACTERS else text[: PLOT_LABEL_CHARACTERS - 1] + "…"
    return cut.replace("$", r"\$")


def _svg(figure: Figure, number: int) -> Markup:
    """`figure` as an element whose ids, and what refers to them, begin with the `number` of its section.

    Its styles become attributes: a server that forbids inline styles would else turn every shape black.
    """
    stream = io.StringIO()
    # Text stays text, so the reader's fonts show any script, even those matplotlib has no glyphs for.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgetl"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    width = WIDTH.search(text)  # of all that is drawn, labels left of the axes too
    least = MIN_SCALE * (float(width[1]) if width else 72 * figure.get_figwidth())
    element = TAG.sub(lambda tag: STYLE.sub(_attributes, tag[0]), text[text.index("<svg") :])
    numbered = TAG.sub(lambda tag: REFERENCE.sub(rf"\g<0>plot{number}-", tag[0]), element)
    return Markup(numbered.replace("<svg ", f'<svg style="min-width: {least:.0f}pt" ', 1))


def _attributes(style: re.Match[str]) -> str:
    return "".join(f' {name}="{value}"' for name, value in DECLARATION.findall(style[1]))


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
