"""Plots as inline SVG: bars, histograms and points.

Across, all places are in percent and text is in pixels, so that a plot fits a phone as well as a screen without its
words shrinking. Colours come from the page's classes.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.terms import share

ROW = 36
NEXT_BAR = 10
PLOT = 96
GAP = 0.18
"""The part of a histogram's bin that stays empty."""


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart.

    Attributes:
        label: What is counted.
        figure: The number as it is to be read.
        lengths: One or more values drawn as bars below one another, each from 0 to 1.
        hint: What the pointer is told.
    """

    label: str
    figure: str
    lengths: tuple[float, ...]
    hint: str = ""


@dataclass(frozen=True)
class Series:
    """The heights of one histogram, and the class that colours it."""

    name: str
    counts: Sequence[int]
    style: str


def escape(text: str) -> str:
    """Text from anywhere as HTML text; control characters show as a replacement character."""
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text))


def bars(rows: Sequence[Bar], style: str, title: str) -> str:
    """A bar chart with one label line above each bar, so that long labels have the whole width.

    Args:
        rows: The bars, from the top.
        style: The class of the bars; where a row has several, those after the first add their number.
        title: What it shows, for those who do not see it.
    """
    parts, top = [], 0
    for row in rows:
        parts.append(f"<g><title>{escape(row.hint or f'{row.label}: {row.figure}')}</title>")
        parts.append(f'<text x="0" y="{top + 14}">{escape(row.label)}</text>')
        parts.append(f'<text x="100%" y="{top + 14}" class="end">{escape(row.figure)}</text>')
        for place, length in enumerate(row.lengths):
            name = f"{style}-{place}" if place else style
            y = top + 20 + NEXT_BAR * place
            parts.append(f'<rect x="0" y="{y}" width="100%" height="8" rx="2" class="rail"/>')
            if length > 0:
                parts.append(
                    f'<rect x="0" y="{y}" width="{_percent(max(length, 0.004))}" height="8" rx="2" class="{name}"/>'
                )
        parts.append("</g>")
        top += ROW + NEXT_BAR * (len(row.lengths) - 1)
    return _svg(top, title, parts)


def histogram(
    series: Sequence[Series],
    bins: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    title: str,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Histograms over the same bins, one before the other; the first is at the back.

    Args:
        series: Counts in each bin.
        bins: What each bin holds, for the pointer.
        ticks: Labels below the axis, each at a place from 0 to 1.
        title: What it shows, for those who do not see it.
        marks: Lines across the plot, thresholds for instance, each at a place from 0 to 1.
    """
    tallest = max((count for one in series for count in one.counts), default=0) or 1
    top = 20 if marks else 6
    floor = top + PLOT
    parts = []
    width = 1 / max(len(bins), 1)
    for one in series:
        for number, count in enumerate(one.counts):
            if count:
                height = max(PLOT * count / tallest, 1.0)
                told = f"{bins[number]}: {count:,} {one.name} ({share(count, sum(one.counts))})"
                parts.append(
                    f'<rect x="{_percent(number * width + width * GAP / 2)}" y="{floor - height:.1f}" '
                    f'width="{_percent(width * (1 - GAP))}" height="{height:.1f}" class="{one.style}">'
                    f"<title>{escape(told)}</title></rect>"
                )
    parts.append(f'<line x1="0" x2="100%" y1="{floor}" y2="{floor}" class="axis"/>')
    for place, label in marks:
        parts.append(f'<line x1="{_percent(place)}" x2="{_percent(place)}" y1="16" y2="{floor}" class="mark"/>')
        parts.append(_label(place, 11, label, "mark-text"))
    parts += [_label(place, floor + 16, label, "tick") for place, label in ticks]
    return _svg(floor + 22, title, parts)


@dataclass(frozen=True)
class Point:
    """A point with an interval up and down.

    Attributes:
        label: What stands beside it.
        x: At least 0.
        y: From 0 to 1, like both ends of its interval.
        low: Lower end.
        high: Upper end.
    """

    label: str
    x: float
    y: float
    low: float
    high: float


def scatter(points: Sequence[Point], title: str, across: str, up: str, height: int = 320) -> str:
    """Points over a logarithmic axis that begins at 0, where it grows like `log(1 + x)`.

    Args:
        points: In any order.
        title: What it shows, for those who do not see it.
        across: Name of the axis from left to right.
        up: Name of the axis from bottom to top, in percent.
        height: Of the plot, in pixels.
    """
    most = max([point.x for point in points], default=1) or 1
    top = min(1.0, math.ceil(max([point.high for point in points], default=1) * 10) / 10) or 1.0
    floor = 26 + height

    def place(x: float) -> float:
        return 0.05 + 0.75 * math.log1p(x) / math.log1p(most)

    def level(y: float) -> float:
        return floor - height * min(y, top) / top

    parts = [_label(0.0, 12, up, "tick")]
    for step in range(round(top * 10) + 1):
        y = level(step / 10)
        parts.append(f'<line x1="4%" x2="100%" y1="{y:.1f}" y2="{y:.1f}" class="{"grid" if step else "axis"}"/>')
        parts.append(f'<text x="3.4%" y="{y + 4:.1f}" class="tick end">{10 * step}</text>')
    for tick in [0, *(m * 10**n for n in range(8) for m in (1, 3) if m * 10**n <= most)]:
        parts.append(_label(place(tick), floor + 16, f"{tick:,}", "tick"))
    parts.append(_label(1.0, floor + 34, across, "tick"))
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: -point.y):
        x, y = place(point.x), level(point.y)
        told = f"{point.label}: {100 * point.y:.1f} [{100 * point.low:.1f}, {100 * point.high:.1f}] at {point.x:,.1f}"
        beside = y + 4
        for left, below in taken:
            if abs(left - x) < 0.16 and beside < below + 14:
                beside = below + 14
        taken.append((x, beside))
        parts.append(
            f"<g><title>{escape(told)}</title>"
            f'<line x1="{_percent(x)}" x2="{_percent(x)}" y1="{level(point.high):.1f}" y2="{level(point.low):.1f}" '
            f'class="axis"/><circle cx="{_percent(x)}" cy="{y:.1f}" r="4" class="keep"/>'
            f'<text x="{_percent(x + 0.012)}" y="{beside:.1f}" class="point">{escape(point.label)}</text></g>'
        )
    return _svg(max([floor + 42, *(below + 8 for _, below in taken)]), title, parts)


@dataclass(frozen=True)
class Course:
    """How a figure went.

    Attributes:
        name: What stands at its end.
        points: (x, y) pairs from left to right, each at least 0.
    """

    name: str
    points: Sequence[tuple[float, float]]


def courses(lines: Sequence[Course], title: str, across: str, height: int = 240) -> str:
    """Lines over common axes that begin at 0.

    Args:
        lines: Without empty ones.
        title: What it shows, for those who do not see it.
        across: Name of the axis from left to right.
        height: Of the plot, in pixels.
    """
    most, top = (max((point[axis] for line in lines for point in line.points), default=1) or 1 for axis in (0, 1))
    floor = 12 + height

    def level(y: float) -> float:
        return floor - height * y / top

    parts = []
    for step in range(5):
        y = level(top * step / 4)
        parts.append(f'<line x1="8%" x2="84%" y1="{y:.1f}" y2="{y:.1f}" class="{"grid" if step else "axis"}"/>')
        parts.append(f'<text x="7.4%" y="{y + 4:.1f}" class="tick end">{top * step / 4:.3g}</text>')
        parts.append(_label(0.08 + 0.76 * step / 4, floor + 16, f"{most * step / 4:,.0f}", "tick"))
    parts.append(_label(0.46, floor + 34, across, "tick"))
    below = -math.inf
    for number, line in enumerate(sorted(lines, key=lambda line: -line.points[-1][1])):
        drawn = " ".join(f"{1000 * x / most:.1f},{level(y):.1f}" for x, y in line.points)
        below = max(level(line.points[-1][1]) + 4, below + 14)
        parts.append(
            f'<svg x="8%" width="76%" height="{floor}" viewBox="0 0 1000 {floor}" preserveAspectRatio="none">'
            f'<polyline points="{drawn}" class="course-{number % 4}" vector-effect="non-scaling-stroke"/></svg>'
            f'<text x="85%" y="{below:.1f}" class="point">{escape(line.name)}</text>'
        )
    return _svg(floor + 40, title, parts)


def standalone(plot: str) -> str:
    """A plot as a file of its own, with the colours that the page would give it."""
    return plot.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", f">{_STYLE}", 1)


_STYLE = (
    "<style>svg{background:#fdfdfc;fill:#1c1d1f;font:13px sans-serif}.tick{fill:#65686d;font-size:12px}"
    ".end{text-anchor:end}.axis{stroke:#65686d}.grid{stroke:#e4e4e0}.keep{fill:#2b6a8c}.point{font-size:12px}"
    "polyline{fill:none;stroke-width:1.5}.course-0{stroke:#2b6a8c}.course-1{stroke:#b4552d}.course-2{stroke:#5b7d3a}"
    ".course-3{stroke:#7a5c99}</style>"
)


def _label(place: float, y: int, text: str, style: str) -> str:
    """A label that stays inside the plot at either end."""
    anchor = "start" if place < 0.04 else "end" if place > 0.96 else "middle"
    return f'<text x="{_percent(place)}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _percent(part: float) -> str:
    return f"{100 * part:.3f}".rstrip("0").rstrip(".") + "%"


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return f'<svg role="img" aria-label="{escape(title)}" width="100%" height="{height:.0f}">{"".join(parts)}</svg>'
