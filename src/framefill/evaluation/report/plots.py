"""Plots as inline SVG by matplotlib: curves over frames, boxes over clips, differences with their intervals.

Colours are those of Okabe and Ito (2008) less the yellow, which is too pale for a line on paper; a model that comes with the program has
the same colour on every page, and models that share a colour, or a printer without any, are told apart by dashes and markers.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from framefill.evaluation.report.markup import Attributes, Markup, element, joined
from framefill.evaluation.report.read import Metric

Interval = tuple[str, float, float | None, float | None]  # a model's name, mean, low, high
Curve = Sequence[float | None]
HOUSE = ("auto", "telea", "median", "average", "propagate", "ns", "rife", "copy")  # these have the first eight looks, in this order
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#1b1d1f", "#7f7f7f")
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (8, 2), (2.5, 1.2), (1, 2.5), (5, 1, 1, 1, 1, 1))
MARKERS = "osD^vPX<"
MOST_POINTS = 120  # of a curve: more are not told apart in a plot as wide as half a page
FEW_POINTS = 20  # of a curve: up to so many are marked
FEWEST_FOR_A_BOX = 5  # clips: quartiles of fewer are the clips themselves
WIDTH = 5.2  # inches; the page scales it
STYLE: dict[str, str | float | bool] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, drawn with the page's font
    "text.parse_math": False,  # a `$` in a name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.03,  # given, so that it is not searched for: that takes longer than drawing the curves
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5c6369",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#dfe1e2",
    "grid.linewidth": 0.6,
    "xtick.color": "#5c6369",
    "ytick.color": "#5c6369",
    "xtick.labelcolor": "#1b1d1f",
    "ytick.labelcolor": "#1b1d1f",
}


@dataclass(frozen=True)
class Look:
    """How a model is drawn on the whole page."""

    colour: str
    dashes: tuple[float, ...]
    marker: str


def looks(models: Sequence[str]) -> dict[str, Look]:
    """Give every model its colour, dashes and marker; the program's own models have theirs always, others take what is left, in order."""
    free = [place for place, name in enumerate(HOUSE) if name not in models] or list(range(len(HOUSE)))
    others = [model for model in models if model not in HOUSE]
    places = {model: HOUSE.index(model) for model in models if model in HOUSE}
    places |= {model: free[position % len(free)] for position, model in enumerate(others)}
    return {model: Look(COLOURS[places[model]], DASHES[places[model]], MARKERS[places[model]]) for model in models}


def legend(shown: Mapping[str, Look]) -> Markup:
    """Return the models with a piece of their line, as HTML beside the plots, so that no plot has to hold it."""
    return element("p", {"class": "legend"}, *(element("span", {}, swatch(look), name) for name, look in shown.items()))


def swatch(look: Look) -> Markup:
    """Return a short piece of a model's line with its marker's colour."""
    dashes = " ".join(f"{2.5 * part:g}" for part in look.dashes) or None  # in widths of the line, as matplotlib takes them
    line: Attributes = {"x1": 1, "y1": 6, "x2": 41, "y2": 6, "stroke": look.colour, "stroke-width": 2.5, "stroke-dasharray": dashes}
    return element("svg", {"viewBox": "0 0 42 12", "width": 42, "height": 12, "aria-hidden": "true"}, element("line", line))


def thinned(curve: Curve, most: int = MOST_POINTS) -> list[tuple[int, float | None]]:
    """Return at most `most` points (position, value) of a curve: of each stretch its least and largest, so that no outlier is lost.

    None and infinite values stay where they break the line: a stretch that holds one keeps one.
    """
    if len(curve) <= most:
        return list(enumerate(curve))
    step = math.ceil(2 * len(curve) / most)
    points: list[tuple[int, float | None]] = []
    for start in range(0, len(curve), step):
        stretch = [(start + offset, value) for offset, value in enumerate(curve[start : start + step])]
        known = [(place, value) for place, value in stretch if value is not None and math.isfinite(value)]
        broken = [point for point in stretch if point[1] is None or not math.isfinite(point[1])][:1]
        ends = {min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])} if known else set()
        points += sorted([*ends, *broken[: 1 if len(ends) < 2 else 0]], key=lambda point: point[0])
    return points


def curve_plot(metric: Metric, curves: Mapping[str, Curve], shown: Mapping[str, Look], words: str) -> Markup:
    """Return the curves of all models over the frames; infinite values are small triangles at the top, values that lack are gaps."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2.15)
        for model, curve in curves.items():
            points = thinned(curve)
            look = shown[model]
            line = [math.nan if value is None or math.isinf(value) else value for _, value in points]
            places = [place for place, _ in points]
            axes.plot(places, line, color=look.colour, dashes=look.dashes or (None, None), linewidth=1.5, solid_joinstyle="round")
            alone = [
                (place, value)
                for position, (place, value) in enumerate(zip(places, line, strict=True))
                if not math.isnan(value) and all(math.isnan(line[near]) for near in (position - 1, position + 1) if 0 <= near < len(line))
            ]  # a point between two gaps is on no line
            if alone:
                axes.plot([place for place, _ in alone], [value for _, value in alone], "o", color=look.colour, markersize=3)
            endless = [place for place, value in points if value is not None and math.isinf(value)]
            if endless:
                axes.plot(endless, [0.985] * len(endless), "^", color=look.colour, markersize=3.5, transform=axes.get_xaxis_transform())
        longest = max(len(curve) for curve in curves.values())
        axes.set_xlim(0, max(longest - 1, 1))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("pair of frames (number of the first)" if metric.per == "pair" else "frame")
        _name(axes, metric)
        return _svg(figure, words)


def box_plot(metric: Metric, values: Mapping[str, Sequence[tuple[str | None, float]]], shown: Mapping[str, Look], words: str) -> Markup:
    """Return one row a model: a box of its quartiles, whiskers to the extremes, and a point a clip, hollow for the second mask case."""
    with mpl.rc_context(STYLE):
        models = list(values)
        cases = list(dict.fromkeys(case for points in values.values() for case, _ in points))
        figure, axes = _figure(0.75 + 0.34 * len(models), left=0.03 + 0.0165 * max(len(short(model)) for model in models))
        for row, model in enumerate(models):
            points = [value for _, value in values[model]]
            if len(points) >= FEWEST_FOR_A_BOX:
                axes.boxplot(
                    points,
                    positions=[row],
                    orientation="horizontal",
                    widths=0.55,
                    whis=(0, 100),
                    patch_artist=True,
                    boxprops={"facecolor": shown[model].colour + "33", "edgecolor": shown[model].colour},
                    whiskerprops={"color": shown[model].colour},
                    capprops={"color": shown[model].colour},
                    medianprops={"color": shown[model].colour, "linewidth": 2.2},
                )
            for order, case in enumerate(cases):
                across = [value for where, value in values[model] if where == case]
                # Clips of one value would hide each other: they are spread a little, the same way each time.
                up = [row + 0.16 * math.sin(2.4 * position) for position in range(len(across))]
                face = "none" if order % 2 else shown[model].colour
                axes.plot(across, up, "o", markersize=3.6, markerfacecolor=face, markeredgecolor=shown[model].colour, alpha=0.85)
        axes.set_yticks(range(len(models)), [short(model) for model in models])
        axes.set_ylim(len(models) - 0.45, -0.55)
        axes.grid(False, axis="y")
        axes.set_title(metric.title)
        axes.set_xlabel(f"{metric.unit + ', ' if metric.unit else ''}{metric.better} is better")
        return _svg(figure, words)


def difference_plot(metric: Metric, rows: Sequence[Interval], shown: Mapping[str, Look], words: str) -> Markup:
    """Return one row a model: the mean difference (name, mean, low, high) with its interval beside the line of no difference."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(0.75 + 0.34 * len(rows), left=0.03 + 0.0165 * max(len(short(name)) for name, *_ in rows))
        axes.axvline(0, color="#1b1d1f", linewidth=1)
        for row, (name, mean, low, high) in enumerate(rows):
            if low is not None and high is not None:
                axes.plot([low, high], [row, row], color=shown[name].colour, linewidth=2.5, solid_capstyle="butt")
            axes.plot([mean], [row], shown[name].marker, color=shown[name].colour, markersize=6.5)
        axes.set_yticks(range(len(rows)), [short(name) for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.margins(x=0.12)
        axes.grid(False, axis="y")
        axes.set_title(metric.title)
        side = "right" if metric.better == "higher" else "left"
        axes.set_xlabel(f"difference{', ' + metric.unit if metric.unit else ''}; the second run is better to the {side}")
        return _svg(figure, words)


def line_plot(title: str, axis: str, curves: Mapping[str, Sequence[tuple[float, float]]], shown: Mapping[str, Look], words: str) -> Markup:
    """Return curves of (place, value) points over what `axis` names; a scale that spans more than a factor of 20 is logarithmic."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2.4)
        for name, points in curves.items():
            look = shown[name]
            marker = look.marker if len(points) < FEW_POINTS else None
            axes.plot(*zip(*points, strict=True), color=look.colour, dashes=look.dashes or (None, None), marker=marker, markersize=3.5)
        values = [value for points in curves.values() for _, value in points]
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_title(title)
        axes.set_xlabel(axis)
        return _svg(figure, words)


def short(name: str) -> str:
    """A name that fits beside a plot."""
    return name if len(name) <= 16 else name[:15] + "…"


def _name(axes: Axes, metric: Metric) -> None:
    axes.set_title(metric.title)
    axes.set_ylabel(f"{metric.unit or 'value'}{' ↑' if metric.better == 'higher' else ' ↓'}")


def _figure(height: float, left: float = 0.135) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.add_axes((left, 0.46 / height, 0.985 - left, 1 - (0.46 + 0.26) / height))


def _svg(figure: Figure, words: str) -> Markup:
    """Return a figure as an `svg` element without ids that nothing uses: a page holds hundreds, and theirs would be the same."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": words}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # text that matplotlib's font lacks is drawn by the browser
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    used = set(re.findall(r"[(\"]#([^)\"]+)[)\"]", text))
    text = re.sub(r'\s+id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r' (d|x|y|transform)="([^"]*)"', lambda found: f' {found[1]}="{_coordinates(found[2])}"', text)
    text = re.sub(r"<!--.*?-->|\n\s*(?=<)", "", text, flags=re.DOTALL)
    inner = text[text.index(">") + 1 : text.rindex("</svg>")]
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    return element("svg", {"viewBox": box[1], "role": "img", "aria-label": words, "class": "drawing"}, joined(Markup(inner)))


def _coordinates(text: str) -> str:
    """Return coordinates to a tenth of a point, and a path of straight lines without its `L`s: pages hold hundreds of plots."""
    short = " ".join(re.sub(r"(\.\d)\d+", r"\1", text).split())
    return short if re.search("[CQS]", short) else short.replace(" L ", " ")
