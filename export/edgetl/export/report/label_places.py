"""Labels beside points such that no two overlap: the nearest free place of a fixed list, with a line to the point."""

import itertools
import math
from collections.abc import Sequence

import msgspec
from matplotlib.axes import Axes

RADII = (8, 15, 24, 36, 50, 66, 84)
"""Points from a marker's centre to its label, tried in this order."""

DIRECTIONS = (0, 180, 90, 270, 35, 145, 325, 215, 60, 120, 300, 240)
PLACES = tuple(itertools.product(RADII, DIRECTIONS))
LINE_FROM = 20
"""Points; a label nearer than this needs no line to its marker."""

STEPS = 12
MARKER = 5.0
BLOCKED, CROSSED, FAR = 1000.0, 20.0, 0.1
"""What it costs to cover a label, a marker or the frame; to cross a line; and each point of distance."""

Line = tuple[float, float, float, float]
"""A line along an axis in data coordinates: x and y of its lower left end, x and y of its upper right one."""


class Box(msgspec.Struct, frozen=True):
    """A rectangle in points, from its lower left corner."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two share an area."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def within(self, other: "Box") -> bool:
        """Whether `other` holds all of it."""
        inside = other.left <= self.left and self.right <= other.right
        return inside and other.bottom <= self.bottom and self.top <= other.top


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """A point in data coordinates and its text."""

    x: float
    y: float
    text: str


def place_labels(axes: Axes, points: Sequence[Labelled], lines: Sequence[Line], *, size: float = 8.5) -> None:
    """Writes each text beside its point, in `size` points, if possible on none of `lines`; everything else is drawn."""
    axes.autoscale_view()  # margins take effect only when something asks for the limits
    scale = 72 / axes.figure.dpi
    frame = Box(*(scale * edge for edge in axes.get_window_extent().extents))
    centres = [_place(axes, point.x, point.y, scale) for point in points]
    solid = [Box(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y in centres]
    thin = [_thin(axes, line, scale) for line in lines]
    labels: list[Box] = []
    for point, (x, y) in zip(points, centres, strict=True):
        width, height = _extent(axes, point.text, size, scale)
        tried = [(radius, _box(x, y, radius, angle, width, height)) for radius, angle in PLACES]
        costs = [
            BLOCKED * (sum(box.overlaps(other) for other in [*solid, *labels]) + (not box.within(frame)))
            + CROSSED * sum(box.overlaps(line) for line in thin)
            + CROSSED * sum(step.overlaps(label) for step in _leader(box, x, y, radius) for label in labels)
            + FAR * radius
            for radius, box in tried
        ]
        radius, box = tried[costs.index(min(costs))]
        labels.append(box)
        thin += _leader(box, x, y, radius)
        _write(axes, point, (box.left - x, (box.bottom + box.top) / 2 - y), size, line=radius >= LINE_FROM)


def _place(axes: Axes, x: float, y: float, scale: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y))
    return float(across) * scale, float(up) * scale


def _thin(axes: Axes, line: Line, scale: float) -> Box:
    (left, bottom), (right, top) = _place(axes, *line[:2], scale), _place(axes, *line[2:], scale)
    return Box(left - 1, bottom - 1, right + 1, top + 1)


def _extent(axes: Axes, text: str, size: float, scale: float) -> tuple[float, float]:
    """Width and height in points, with a margin for readers' fonts."""
    sample = axes.text(0, 0, text, fontsize=size)
    extent = sample.get_window_extent()
    sample.remove()
    return 1.05 * scale * float(extent.width) + 2, scale * float(extent.height) + 2


def _box(x: float, y: float, radius: float, angle: float, width: float, height: float) -> Box:
    """The label's box when its nearest edge is `radius` from the point towards `angle`, in degrees."""
    right, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    left = x + radius * right - width * (1 - right) / 2
    bottom = y + radius * up - height * (1 - up) / 2
    return Box(left, bottom, left + width, bottom + height)


def _leader(box: Box, x: float, y: float, radius: float) -> list[Box]:
    """The line from the point to its label in small steps; none when the label is near."""
    if radius < LINE_FROM:
        return []
    across, up = (box.left + box.right) / 2 - x, (box.bottom + box.top) / 2 - y
    steps = [(x + across * i / STEPS, y + up * i / STEPS) for i in range(1, STEPS)]
    made = [Box(right - 0.5, above - 0.5, right + 0.5, above + 0.5) for right, above in steps]
    return [step for step in made if not step.overlaps(box)]


def _write(axes: Axes, point: Labelled, offset: tuple[float, float], size: float, *, line: bool) -> None:
    axes.annotate(
        point.text, (point.x, point.y), xytext=offset, textcoords="offset points", fontsize=size, va="center",
        arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.6, "shrinkB": 5} if line else None,
    )  # fmt: skip
