"""The page's words and order: in short, what was measured, the table, the spread, clip by clip, every value, and how to repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template

from framefill.evaluation.report import words
from framefill.evaluation.report.gallery import anchor, gallery, shown_clips
from framefill.evaluation.report.markdown import section_title
from framefill.evaluation.report.markup import Markup, element, joined
from framefill.evaluation.report.plots import Look, box_plot, looks, swatch
from framefill.evaluation.report.read import Metric, Result, Run
from framefill.evaluation.report.table import Cell, Column, Section, cells_of, columns, firsts, regions, sections

NOTHING = Markup("")
MOST_COLUMNS = 8  # of a table, where regions can be parted
MOST_OPEN = 40  # lines of the table of all values that are shown without being asked for


def run_page(run: Run) -> str:
    """Return the whole page about a run as HTML. Raises `UnreadableMedia`, `UnwritableMedia` for its videos."""
    table = columns(run)
    shown = looks(run.models)
    sections = [
        ("short", "In short", _short(run, table)),
        ("notes", "Notes of this run", _notes(run.notes)),
        ("measured", "What was measured, and how", _measured(run, shown)),
        ("results", "Results", _results(run, table, shown)),
        ("spread", "How the clips spread", _spread(run, shown)),
        ("clips", "Clip by clip", gallery(run, shown)),
        ("values", "Every value", _values(run)),
        ("repeat", "To repeat it", _repeat(run)),
    ]
    return whole_page(f"Evaluation: {run.protocol.name}", _facts(run), sections, run.versions.get("framefill", ""))


def whole_page(title: str, facts: str, sections: Sequence[tuple[str, str, Markup]], version: str) -> str:
    """Return a page of the sections (id, title, body) that have a body, with links to them at its top."""
    assets = files(__package__)
    there = [section for section in sections if section[2]]
    links = [element("a", {"href": f"#{name}"}, heading) for name, heading, _ in there]
    bodies = [
        element("section", {"id": name, "aria-labelledby": f"{name}-title"}, element("h2", {"id": f"{name}-title"}, heading), body)
        for name, heading, body in there
    ]
    return Template(assets.joinpath("template.html").read_text("utf-8")).substitute(
        title=joined(f"{title} – framefill"),
        style=assets.joinpath("report.css").read_text("utf-8"),
        script=assets.joinpath("report.js").read_text("utf-8"),
        heading=joined(title),
        facts=joined(facts),
        links=joined(*links),
        sections=joined(*bodies),
        version=joined(version),
    )


def _facts(run: Run) -> str:
    frames = sum(clip.frames for clip in run.clips)
    sizes = sorted({(clip.width, clip.height) for clip in run.clips})
    size = f"{sizes[0][0]} × {sizes[0][1]}" if len(sizes) == 1 else words.count(len(sizes), "size") if sizes else ""
    facts = [words.count(len(run.models), "model"), words.count(len(run.clips), "clip"), words.count(frames, "frame"), size]
    return " · ".join(fact for fact in [*facts, f"{words.duration(run.seconds)} of work"] if fact)


def _short(run: Run, table: Sequence[Column]) -> Markup:
    wins, decided = firsts(table)
    parts = [element("p", {"class": "lead"}, words.task(run.protocol.name) or " ".join(run.protocol.definition[:1]))]
    if wins:
        ranked = [f"{model} in {number}" for model, number in wins.most_common()]
        line = f"Best mean, of {words.count(decided, 'column')} in which one model is better than another: {words.listed(ranked)}."
        parts.append(element("p", {"class": "lead"}, line))
    return joined(*parts)


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return NOTHING
    return element("ul", {"class": "notes"}, *(element("li", {}, note) for note in notes))


def _measured(run: Run, shown: Mapping[str, Look]) -> Markup:
    models = [joined(element("dt", {}, swatch(shown[model]), model), element("dd", {}, words.model(model))) for model in run.models]
    rows = [
        (
            element("b", {}, metric.title),
            words.direction(metric) + (f", in {metric.unit}" if metric.unit else ""),
            f"{words.REGIONS[metric.region].lower()}; {words.PER_WORDS[metric.per]}",
            metric.about,
        )
        for metric in run.metrics.values()
    ]
    return joined(
        element("h3", {}, "The models"),
        element("dl", {"class": "models"}, *models),
        element("h3", {}, "The metrics"),
        _words_table(("metric", "direction", "where and how often", "what it says"), rows),
        element("h3", {}, f"The protocol “{run.protocol.name}”, in its own words"),
        element("ul", {}, *(element("li", {}, line) for line in run.protocol.definition)),
    )


def _words_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    body = [
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, row[0]),
            *(element("td", {"data-head": title}, cell) for title, cell in zip(head[1:], row[1:], strict=True)),
        )
        for row in rows
    ]
    top = element("tr", {}, *(element("th", {"scope": "col"}, title) for title in head))
    return element("table", {"class": "words"}, element("thead", {}, top), element("tbody", {}, *body))


def _results(run: Run, table: Sequence[Column], shown: Mapping[str, Look]) -> Markup:
    notes = [words.BEST, words.INTERVAL]
    if any("∞" in cell.mean for cell in cells_of(table)):
        notes.append(words.INFINITE)
    if any(cell.partial for cell in cells_of(table)):
        notes.append(words.PARTIAL)
    return joined(*map(_note, notes), *(part for chosen in _packed(table) for part in _table(run, chosen, shown)))


def _packed(table: Sequence[Column]) -> list[list[Column]]:
    """Return the columns in tables that fit a screen's width; a region is not torn apart."""
    packed: list[list[Column]] = []
    for _, chosen in regions(table):
        if packed and len(packed[-1]) + len(chosen) <= MOST_COLUMNS:
            packed[-1] += chosen
        else:
            packed.append(list(chosen))
    return packed


def _table(run: Run, chosen: Sequence[Column], shown: Mapping[str, Look]) -> list[Markup]:
    parts = regions(chosen)
    names = words.listed([words.REGIONS[region] for region, _ in parts])
    above = [element("th", {"rowspan": 2, "scope": "col"}, "model")]
    for region, inside in parts:
        above.append(element("th", {"scope": "colgroup", "colspan": len(inside), "class": "part"}, words.REGIONS[region]))
    below = [
        element("th", {"scope": "col", "title": column.metric.about, "class": None if position else "part"}, *_heading(column.metric))
        for _, inside in parts
        for position, column in enumerate(inside)
    ]
    found = sections(run, chosen)
    bodies = [_section(run, section, len(chosen), len(found) > 1, shown) for section in found]
    said = [element("li", {}, element("b", {}, words.REGIONS[region]), f": {words.REGION_WORDS[region]}") for region, _ in parts]
    head = element("thead", {}, element("tr", {}, *above), element("tr", {}, *below))
    return [element("ul", {"class": "note regions"}, *said), scrolling(element("table", {"class": "figures"}, head, *bodies), names)]


def _note(text: str) -> Markup:
    """Return a note in which what stands between backticks is code."""
    parts = [element("code", {}, part) if position % 2 else joined(part) for position, part in enumerate(text.split("`"))]
    return element("p", {"class": "note"}, *parts)


def _heading(metric: Metric) -> list[str]:
    better = "higher is better" if metric.better == "higher" else "lower is better"
    arrow = element("span", {"class": "arrow", "role": "img", "aria-label": better}, "↑" if metric.better == "higher" else "↓")
    return [metric.title, " ", arrow, element("small", {}, metric.unit) if metric.unit else NOTHING]


def _section(run: Run, section: Section, columns: int, titled: bool, shown: Mapping[str, Look]) -> Markup:
    rows = []
    if titled:
        name = element("span", {}, section_title(run, section))
        rows.append(element("tr", {"class": "case"}, element("th", {"scope": "colgroup", "colspan": columns + 1}, name)))
    for model, cells in section.lines:
        name = element("th", {"scope": "row"}, swatch(shown[model]), model)
        rows.append(element("tr", {}, name, *(_cell(cell) for cell in cells)))
    return element("tbody", {}, *rows)


def _cell(cell: Cell | None) -> Markup:
    if cell is None:
        return element("td", {}, "–")
    sign = element("sup", {"title": f"over {words.count(cell.clips, 'clip')}"}, "†") if cell.partial else NOTHING
    interval = element("small", {}, cell.interval) if cell.interval else NOTHING
    if cell.partial:
        interval = joined(interval, element("small", {}, f"† {words.count(cell.clips, 'clip')}"))
    return element("td", {"class": "best" if cell.best else None}, element("b" if cell.best else "span", {}, cell.mean), sign, interval)


def scrolling(table: Markup, name: str) -> Markup:
    """Wrap a wide table so that it scrolls by itself and not the page; the keyboard reaches it."""
    return element("div", {"class": "scroll", "tabindex": 0, "role": "region", "aria-label": name}, table)


def _spread(run: Run, shown: Mapping[str, Look]) -> Markup:
    """Return one box plot a metric; nothing for one clip, where there is no spread."""
    if len(run.clips) < 2:
        return NOTHING
    plots, flat = [], []
    for metric in run.metrics.values():
        values: dict[str, list[tuple[str | None, float]]] = {}
        endless = 0
        for result in run.results:
            if result.metric != metric.key or result.clip is None or result.value is None:
                continue
            points = values.setdefault(result.model, [])
            if math.isinf(result.value):
                endless += 1
            else:
                points.append((result.case, result.value))
        known = {value for points in values.values() for _, value in points}
        if len(known) < 2:
            flat += [metric.title] if known else []
            continue
        where = f" {words.count(endless, 'value is', 'values are')} infinite and not drawn." if endless else ""
        drawing = box_plot(metric, values, shown, f"{metric.title} ({metric.key}) of every clip, by model. {_span_words(values)}")
        caption = element("figcaption", {}, f"{words.REGIONS[metric.region]}; {words.PER_WORDS[metric.per]}.{where}")
        plots.append(element("figure", {"class": "plot"}, drawing, caption))
    if not plots:
        return NOTHING
    cases = f" Filled points: {run.cases[0]}; hollow points: {run.cases[1]}." if len(run.cases) == 2 else ""
    notes = [
        "Each point is one clip. From five clips on a box holds the middle half of them, its bar is the median, and the whiskers reach "
        f"the lowest and the highest clip.{cases}"
    ]
    notes += [f"Not drawn, the same for every clip and model: {words.listed(flat)}."] if flat else []
    return joined(*(element("p", {"class": "note"}, note) for note in notes), element("div", {"class": "plots"}, *plots))


def _span_words(values: Mapping[str, Sequence[tuple[str | None, float]]]) -> str:
    digits = words.decimals(value for points in values.values() for _, value in points)
    spans = []
    for model, points in values.items():
        known = [value for _, value in points]
        if known:
            spans.append(f"{model} {words.written(min(known), digits)} to {words.written(max(known), digits)}")
    return "; ".join(spans)


def _values(run: Run) -> Markup:
    """Return the table of all values, a line a clip and model; the script lets its heads sort it."""
    valued = {result.metric for result in run.results if result.clip is not None and result.value is not None}
    metrics = [metric for metric in run.metrics.values() if metric.key in valued]
    found: dict[tuple[str, str], dict[str, Result]] = {}  # by clip and model, then metric
    for result in run.results:
        if result.clip is not None:
            found.setdefault((result.clip, result.model), {})[result.metric] = result
    digits = {metric.key: words.decimals(line[metric.key].value for line in found.values() if metric.key in line) for metric in metrics}
    heads = [element("th", {"scope": "col"}, element("button", {"type": "button"}, title)) for title in ("clip", "model")]
    heads += [element("th", {"scope": "col"}, element("button", {"type": "button"}, *_heading(metric))) for metric in metrics]
    rows = []
    pictured = set(shown_clips(run))
    for number, clip in enumerate(run.clips, 1):
        name = element("a", {"href": f"#{anchor(number)}"}, clip.name) if number in pictured else clip.name
        for model in run.models:
            line = found.get((clip.name, model))
            if line is None:
                continue
            cells = [element("th", {"scope": "row"}, name), element("td", {}, model)]
            for metric in metrics:
                value = line[metric.key].value if metric.key in line else None
                cells.append(element("td", {"data-value": "" if value is None else repr(value)}, words.written(value, digits[metric.key])))
            rows.append(element("tr", {}, *cells))
    table = element("table", {"class": "figures sortable"}, element("thead", {}, element("tr", {}, *heads)), element("tbody", {}, *rows))
    body = joined(
        element("p", {"class": "note script"}, "Click a column's head to sort by it, once more to turn the order."),
        scrolling(table, "Every value"),
    )
    if len(rows) <= MOST_OPEN:
        return body
    return element("details", {}, element("summary", {}, f"Show all {words.count(len(rows), 'line')}"), body)


def _repeat(run: Run) -> Markup:
    facts = [("seed", str(run.seed)), ("machine", run.machine), ("time", words.duration(run.seconds))]
    settings = [(name, json.dumps(value, ensure_ascii=False)) for name, value in run.protocol.settings.items()]
    clips = [(clip.name, element("code", {}, clip.sha256)) for clip in run.clips]
    inputs = pairs_table(clips)
    return joined(
        element("pre", {"tabindex": 0}, run.command),
        element(
            "div",
            {"class": "facts-grid"},
            block("Run", pairs_table(facts)),
            block("Settings of the protocol", pairs_table(settings)),
            block("Versions", pairs_table(run.versions.items())),
            block("Weights, sha256", pairs_table((name, element("code", {}, digest)) for name, digest in run.weights.items())),
        ),
        element("details", {"open": len(clips) <= 12}, element("summary", {}, "Clips, sha256"), inputs),
    )


def block(title: str, body: Markup) -> Markup:
    """Return a titled part of the page's last section."""
    return element("div", {}, element("h3", {}, title), body)


def pairs_table(rows: Iterable[tuple[str, str]]) -> Markup:
    """Return names and values, or `None.` where there are none."""
    lines = [element("tr", {}, element("th", {"scope": "row"}, name), element("td", {}, value or "–")) for name, value in rows]
    return element("table", {"class": "pairs"}, element("tbody", {}, *lines)) if lines else element("p", {"class": "note"}, "None.")
