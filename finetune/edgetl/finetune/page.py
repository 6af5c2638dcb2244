"""One self-contained HTML page: text, tables and plots, nothing loaded from anywhere."""

import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import msgspec
from markupsafe import Markup
from matplotlib.figure import Figure

from edgetl.files import write_bytes


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A heading with a paragraph, a table and a plot, each optional. `alt` says in words what the plot shows."""

    title: str
    text: str = ""
    header: tuple[str, ...] = ()
    rows: Sequence[Sequence[str]] = ()
    plot: Figure | None = None
    alt: str = ""


TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.table { overflow-x: auto } table { border-collapse: collapse }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
th { font-weight: 600 } pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; white-space: pre-wrap }
svg { max-width: 100%; height: auto } figure { margin: 1rem 0 }
</style></head><body><main>
<h1>{{ title }}</h1><p>{{ summary }}</p>
{% for section in sections %}<section><h2>{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if section.rows %}<div class="table"><table>
{% if section.header %}<thead><tr>
{% for cell in section.header %}<th scope="col">{{ cell }}</th>{% endfor %}
</tr></thead>{% endif %}
<tbody>{% for row in section.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>{% endif %}
{% if section.plot %}<figure role="img" aria-label="{{ section.alt }}">{{ svg(section.plot) }}</figure>{% endif %}
</section>{% endfor %}
{% if command %}<section><h2>How to reproduce</h2><pre>{{ command }}</pre></section>{% endif %}
</main></body></html>
"""


def write_page(path: Path, title: str, summary: str, sections: Sequence[Section], command: str = "") -> None:
    """Writes the page; all text is escaped, plots are inline SVG."""
    environment = jinja2.Environment(autoescape=True)
    page = environment.from_string(TEMPLATE).render(
        title=title, summary=summary, sections=sections, command=command, svg=_svg
    )
    write_bytes(path, page.encode())


def _svg(figure: Figure) -> Markup:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])
